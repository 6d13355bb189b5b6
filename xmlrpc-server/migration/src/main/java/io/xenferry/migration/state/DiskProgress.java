package io.xenferry.migration.state;

import java.util.UUID;

/**
 * How far one disk is.
 *
 * @param vdi uuid at the source
 * @param device the VBD's device
 * @param phase what is being done with it, in the strategy's words
 * @param size bytes, virtual
 * @param sent bytes written to the destination so far, repeated ones included
 * @param zero bytes skipped because they are zeroes
 * @param saved bytes not sent because the destination held them already
 * @param remaining bytes of this pass still to be sent
 * @param pass 1 for the first
 * @param bytesPerSecond rate of sending
 * @param dirtyPerSecond rate at which the guest makes bytes dirty
 * @param strategy that it is in now: {@code log-dirty}, {@code mirror}, {@code snapshot}
 */
public record DiskProgress(
    UUID vdi,
    String device,
    String phase,
    long size,
    long sent,
    long zero,
    long saved,
    long remaining,
    int pass,
    long bytesPerSecond,
    long dirtyPerSecond,
    String strategy) {}
