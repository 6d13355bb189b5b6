/**
 * What the server half of {@code xe} needs of this server: calls in process, other servers and
 * which of their certificates are trusted. Commands live in the cli module.
 */
@NullMarked
package io.xenferry.server.cli;

import org.jspecify.annotations.NullMarked;
