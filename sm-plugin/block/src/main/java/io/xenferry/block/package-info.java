/**
 * Block devices as the engine sees them: one asynchronous interface, its file and memory
 * implementations, and decorators that stack (rate, statistics, fault, delay, checksum). Nothing
 * here knows of a VM, a network protocol or a migration.
 */
@NullMarked
package io.xenferry.block;

import org.jspecify.annotations.NullMarked;
