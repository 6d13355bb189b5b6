package io.xenferry.copy;

import io.xenferry.block.BlockBackend;

/**
 * A destination disk as opened once.
 *
 * @param backend where to write
 * @param generation tells this opening from every other one of the same disk; the number itself
 *     means nothing
 */
public record Destination(BlockBackend backend, long generation) {}
