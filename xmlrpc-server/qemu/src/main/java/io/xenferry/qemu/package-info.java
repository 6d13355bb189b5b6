/**
 * The hypervisor driver for whatever speaks QMP: QEMU itself, and the simulated guest. How the
 * process is started is a {@link io.xenferry.qemu.GuestLauncher}; nothing here decides who may run.
 */
@NullMarked
package io.xenferry.qemu;

import org.jspecify.annotations.NullMarked;
