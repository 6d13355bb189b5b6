/**
 * The simulated guest, a process that speaks QEMU's protocol and writes without pause, and the
 * verifier that proves from its ledger and the disk files alone that no acknowledged write was
 * lost. Nothing of the server is used here but block devices and the NBD export.
 */
@NullMarked
package io.xenferry.guest;

import org.jspecify.annotations.NullMarked;
