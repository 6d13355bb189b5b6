package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import java.util.Optional;

/**
 * One disk of a job.
 *
 * @param source what is copied; closed by the job at its end
 * @param opener where to
 * @param knownZero whether the destination is known to read as zeroes throughout
 * @param log the durable dirty log, of the source's size; stays the caller's to close and delete
 * @param guestDisk the disk that guest's writes pass through the write-ordering point to, where
 *     they do; empty where the hypervisor writes the source itself
 * @param strategy what becomes of the guest's writes where the hypervisor writes the source itself
 * @param digests tells what the destination holds; where it is empty that is read back
 * @param comparing whether the destination may hold much of the disk already, so that it is asked
 *     before anything of the first pass is sent. Nothing is taken for granted; a destination that
 *     cannot answer is sent everything
 */
public record DiskPlan(
    SourceDisk source,
    DestinationOpener opener,
    boolean knownZero,
    DirtyLog log,
    Optional<BlockBackend> guestDisk,
    Strategy strategy,
    Optional<DestinationDigests> digests,
    boolean comparing) {

  /** Without a mirror. */
  public DiskPlan(
      SourceDisk source,
      DestinationOpener opener,
      boolean knownZero,
      DirtyLog log,
      Optional<BlockBackend> guestDisk) {
    this(source, opener, knownZero, log, guestDisk, Strategy.LOG_DIRTY, Optional.empty(), false);
  }

  /** Without a mirror, and a source that the hypervisor writes or nobody. */
  public DiskPlan(SourceDisk source, DestinationOpener opener, boolean knownZero, DirtyLog log) {
    this(source, opener, knownZero, log, Optional.empty());
  }

  public DiskPlan withStrategy(Strategy value) {
    return new DiskPlan(source, opener, knownZero, log, guestDisk, value, digests, comparing);
  }

  /**
   * With a destination that tells what it holds.
   *
   * @param compare whether it is asked before anything of the first pass is sent
   */
  public DiskPlan withDigests(DestinationDigests value, boolean compare) {
    return new DiskPlan(
        source, opener, knownZero, log, guestDisk, strategy, Optional.of(value), compare);
  }
}
