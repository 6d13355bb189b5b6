/**
 * The demo: two servers, a VM that never stops writing, and the proof. Uses the product as a user
 * would, through processes and the command line; nothing of the product depends on it.
 */
@NullMarked
package io.xenferry.packaging;

import org.jspecify.annotations.NullMarked;
