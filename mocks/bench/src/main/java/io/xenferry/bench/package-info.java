/**
 * Benchmarks against peers, in the same run and on the same machine. Each says what it measured,
 * compares contents, and leaves nothing behind. Nothing here is part of the product.
 */
@NullMarked
package io.xenferry.bench;

import org.jspecify.annotations.NullMarked;
