/**
 * Jetty, TLS, the Unix socket, XML-RPC and the thin CLI as they arrive. Knows calls only as names
 * with values.
 */
@NullMarked
package io.xenferry.server.http;

import org.jspecify.annotations.NullMarked;
