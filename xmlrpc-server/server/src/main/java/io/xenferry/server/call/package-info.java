/**
 * Calls: the order of checks, generic accessors, the registry of messages with code of their own,
 * and dispatch. Knows no HTTP.
 */
@NullMarked
package io.xenferry.server.call;

import org.jspecify.annotations.NullMarked;
