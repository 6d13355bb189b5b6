/**
 * As whom guests' processes run, and what of this host's files they may have: entries in access
 * control lists, made before a process needs them and taken back afterwards. Nothing of QEMU.
 */
@NullMarked
package io.xenferry.qemu.access;

import org.jspecify.annotations.NullMarked;
