/**
 * The iSCSI initiator: login, one session to one logical unit with many commands in flight, and the
 * disk on top of it. It never retries, reconnects or replays a write; it fences instead.
 */
@NullMarked
package io.xenferry.iscsi.initiator;

import org.jspecify.annotations.NullMarked;
