/**
 * The NBD protocol (fixed newstyle, structured replies): a client that is a block backend, and a
 * server of named exports. Knows sockets and block backends; no guest, bitmap owner or migration.
 */
@NullMarked
package io.xenferry.nbd;

import org.jspecify.annotations.NullMarked;
