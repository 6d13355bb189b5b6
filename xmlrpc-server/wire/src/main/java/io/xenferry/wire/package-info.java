/**
 * XenAPI values on the wire: XML-RPC both ways, and the client that speaks it to other servers.
 * Knows no class or message of the data model, and no session.
 */
@NullMarked
package io.xenferry.wire;

import org.jspecify.annotations.NullMarked;
