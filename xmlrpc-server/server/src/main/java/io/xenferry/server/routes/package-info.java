/**
 * HTTP paths beside the calls that belong to no other room: logs, messages, the database as a
 * whole, and those of published servers that this one refuses.
 */
@NullMarked
package io.xenferry.server.routes;

import org.jspecify.annotations.NullMarked;
