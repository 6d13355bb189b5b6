package io.xenferry.copy;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A job at one instant, for display.
 *
 * @param progress 0 to 1; never less than in an earlier snapshot of the job
 * @param bytesPerSecond logical bytes brought to the destinations
 * @param predictedRemaining until converged or drained; empty when it would not end
 * @param predictedDowntime how long the disks will keep the guest paused; empty while there is no
 *     end in sight
 * @param converges whether the guest dirties less than is copied
 * @param elapsed since the start
 * @param phases how much of that the job has spent in each phase; what never was is missing
 */
public record CopySnapshot(
    Phase phase,
    double progress,
    long bytesPerSecond,
    Optional<Duration> predictedRemaining,
    Optional<Duration> predictedDowntime,
    boolean converges,
    Duration elapsed,
    Map<Phase, Duration> phases,
    List<Disk> disks) {

  public CopySnapshot {
    phases = Map.copyOf(phases);
    disks = List.copyOf(disks);
  }

  /** Where the job is. */
  public enum Phase {
    /** Passes run. */
    COPYING,
    /** What is left fits the budget; passes go on at a slow pace. */
    CONVERGED,
    /** The guest is frozen; the last dirty sets go. */
    DRAINING,
    /** Source and destination are the same, and flushed. */
    DRAINED,
    /** Destinations are fenced and closed. */
    CLOSED,
    /** A destination is lost; the job waits for it. */
    WAITING,
    /** Held by the owner. */
    PAUSED,
    FAILED,
    CANCELLED;

    public boolean ended() {
      return this == CLOSED || this == FAILED || this == CANCELLED;
    }
  }

  /** What the copy of a disk waits for most. */
  public enum Bottleneck {
    NONE,
    SOURCE_READ,
    /** The destination; its network and encryption, too, where nothing tells them apart. */
    DESTINATION_WRITE,
    /** The way to the destination, to where it takes bytes off it. */
    NETWORK,
    ENCRYPTION,
    /** A thread of the copy that runs all the time, or waits for a processor. */
    CPU,
    RATE_LIMIT,
    BUFFERS
  }

  /**
   * What the requests of a disk have waited for so far, all of them together: with several in
   * flight more than the time that has passed.
   *
   * @param sourceRead for the source's answers
   * @param destinationWrite for the destination's, apart from the following three as far as these
   *     are known
   * @param network for data on its way, and for it to be taken off there
   * @param encryption for data to be encrypted
   * @param processor for the thread that sends it, as long as that runs or waits for a processor
   * @param rateLimit for the limit of the disk or of all
   * @param buffers for memory
   * @param flush for flushes of both disks at the ends of passes
   */
  public record Waits(
      Duration sourceRead,
      Duration destinationWrite,
      Duration network,
      Duration encryption,
      Duration processor,
      Duration rateLimit,
      Duration buffers,
      Duration flush) {}

  /**
   * One disk; all sizes in bytes.
   *
   * @param logical size of the disk
   * @param allocated size of the first pass
   * @param skipped zeroes not sent
   * @param zeroed zeroes sent as such, without data
   * @param sent data written to the destination, all passes together
   * @param saved what the destination held already, by comparison, and was not sent
   * @param left dirty now, as far as known
   * @param bytesPerSecond of the current or last pass
   * @param dirtyBytesPerSecond of the guest, over the last pass
   * @param depth requests that may be under way now, as many as have been found to be of use; fewer
   *     while reading the source takes long
   * @param requestSize bytes of the largest that are sent now
   * @param passes the first sixteen and the last ones, at most 64
   */
  public record Disk(
      String name,
      boolean connected,
      long logical,
      long allocated,
      long read,
      long skipped,
      long zeroed,
      long sent,
      long saved,
      long left,
      long bytesPerSecond,
      long dirtyBytesPerSecond,
      int depth,
      int requestSize,
      Bottleneck bottleneck,
      Waits waits,
      Mirror mirror,
      Proof proof,
      List<Pass> passes) {}

  /**
   * What is mirrored of a disk.
   *
   * @param strategy as planned
   * @param up whether the guest's writes go to both sides now
   * @param took how long they have, all mirrors of the disk together
   * @param bytes that the guest wrote meanwhile
   * @param writes in how many requests
   * @param fallbacks mirrors that died or stalled
   * @param lastFallback why the last of them did; empty when none did
   */
  public record Mirror(
      Strategy strategy,
      boolean up,
      Duration took,
      long bytes,
      long writes,
      int fallbacks,
      String lastFallback) {}

  /**
   * What is verified of a disk.
   *
   * @param verify what was asked for
   * @param verified bytes that were compared at both ends and are the same, repeated ones included
   * @param left bytes that are yet to be compared
   * @param took how long comparisons have been under way, beside the copy for the most part
   */
  public record Proof(CopyOptions.Verify verify, long verified, long left, Duration took) {}

  /**
   * One finished pass.
   *
   * @param number from 1
   * @param dirty bytes to send when it began
   * @param saved bytes that the destination held already
   */
  public record Pass(
      int number, long dirty, long sent, long zeroed, long skipped, long saved, Duration took) {
    public long bytesPerSecond() {
      return (long) ((sent + zeroed + skipped + saved) / Math.max(1e-6, took.toNanos() / 1e9));
    }
  }
}
