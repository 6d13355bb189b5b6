/**
 * The object database: typed rows, snapshot reads without locks, a generation per change, and
 * nothing visible before it is durable. Knows no session, role or wire.
 */
@NullMarked
package io.xenferry.model.db;

import org.jspecify.annotations.NullMarked;
