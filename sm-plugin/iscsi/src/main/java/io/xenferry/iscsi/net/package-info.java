/**
 * The event loop and the framing of PDUs on a non-blocking socket, for both ends: gather writes
 * from the owner's buffers, reads straight into their place. Nothing here knows a session's state.
 */
@NullMarked
package io.xenferry.iscsi.net;

import org.jspecify.annotations.NullMarked;
