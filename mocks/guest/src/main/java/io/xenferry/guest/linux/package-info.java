/**
 * A real guest for tests and demonstrations: Linux with a small ramdisk whose program writes
 * numbered records to its disks, and the observer that turns its heartbeat into a ledger for the
 * verifier. Nothing of the product depends on it.
 */
@NullMarked
package io.xenferry.guest.linux;

import org.jspecify.annotations.NullMarked;
