/**
 * {@code bench migrate}: the same Linux guest moved by XenFerry and by its peers, seen from outside
 * by what the guest says on a serial port. Nothing here is part of the product.
 */
@NullMarked
package io.xenferry.bench.migrate;

import org.jspecify.annotations.NullMarked;
