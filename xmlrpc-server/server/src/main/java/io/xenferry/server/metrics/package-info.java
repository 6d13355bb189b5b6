/**
 * What guests, this host and its storage use, over time: looked at, kept in round-robin archives of
 * bounded size, and told to clients. Nothing here decides anything, and nothing waits for it.
 */
@NullMarked
package io.xenferry.server.metrics;

import org.jspecify.annotations.NullMarked;
