package io.xenferry.spi;

import java.util.List;
import java.util.Map;
import java.util.OptionalLong;

/**
 * What a guest has used since its process began on this host: numbers that only grow while the
 * process lives, but for those of memory. What cannot be known is absent, and never zero.
 *
 * @param processors nanoseconds of processor time of each vCPU, in order; empty where the
 *     hypervisor does not tell them apart
 * @param process nanoseconds of processor time of the whole process, the hypervisor's own included
 * @param memory bytes that the guest has, less what its balloon has taken
 * @param free bytes that the guest itself says it does not use
 * @param disks by the VBD's device
 * @param nics by the VIF's device number
 */
public record Usage(
    List<Long> processors,
    OptionalLong process,
    OptionalLong memory,
    OptionalLong free,
    Map<String, Disk> disks,
    Map<String, Nic> nics) {

  /**
   * Requests that were completed.
   *
   * @param bytesRead by the guest
   * @param readNanos how long the reads took, added up
   * @param writeNanos how long the writes took, added up
   */
  public record Disk(
      long bytesRead,
      long bytesWritten,
      long reads,
      long writes,
      long readNanos,
      long writeNanos) {}

  /** Bytes, as the guest sees it. */
  public record Nic(long received, long sent) {}
}
