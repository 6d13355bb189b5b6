/** JSON from outside, read strictly and within limits. No message of any protocol is known here. */
@NullMarked
package io.xenferry.migration.json;

import org.jspecify.annotations.NullMarked;
