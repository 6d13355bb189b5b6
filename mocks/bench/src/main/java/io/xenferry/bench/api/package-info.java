/** What a call costs, beside servers that do less. */
@NullMarked
package io.xenferry.bench.api;

import org.jspecify.annotations.NullMarked;
