/**
 * QEMU's machine protocol, the client's side: lines of JSON on a Unix socket, replies matched by
 * id, events, deadlines, limits. Knows no command and no guest.
 */
@NullMarked
package io.xenferry.qemu.qmp;

import org.jspecify.annotations.NullMarked;
