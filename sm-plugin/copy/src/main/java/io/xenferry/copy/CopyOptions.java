package io.xenferry.copy;

import java.time.Duration;
import java.util.function.Consumer;

/**
 * How a job copies. Every value is positive unless said otherwise.
 *
 * @param depth requests in flight to one disk; fewer while a mirror is up
 * @param downtimeBudget how long the last dirty sets may take while the guest is paused; may be
 *     changed while running
 * @param passLimit passes after which the job counts as converged whatever is left
 * @param resumeWindow how long a lost destination may stay away before the job fails
 * @param firstRetry pause before the second attempt to open a destination; doubles each time
 * @param lastRetry the longest such pause
 * @param openDeadline after which an attempt to open a destination counts as failed
 * @param restInterval how often a converged disk is looked at again
 * @param flushInterval bounds what must be sent again after a loss
 * @param bytesPerSecond limit of all disks of the job together, 0 for none; may be changed while
 *     running
 * @param digests whether a checksum of each block sent is kept
 * @param verify what to read back at the end
 * @param timing deadlines of the write-ordering point
 */
public record CopyOptions(
    int depth,
    Duration downtimeBudget,
    int passLimit,
    Duration resumeWindow,
    Duration firstRetry,
    Duration lastRetry,
    Duration openDeadline,
    Duration restInterval,
    Duration flushInterval,
    long bytesPerSecond,
    boolean digests,
    Verify verify,
    WriteOrderingPoint.Timing timing) {

  /** What is read back from the destination and compared before the job says DRAINED. */
  public enum Verify {
    NOTHING,
    /** The blocks sent since the drain began. */
    LAST_SET,
    /**
     * Every block that the job has sent, those sent before the drain while the guest runs: the job
     * has not converged before. Blocks never sent, since they are zeroes at a destination that is
     * known to read as zeroes, are not read, nor are those that a mirror wrote.
     */
    EVERYTHING
  }

  /**
   * The defaults: 16 requests saturate a tuned tgtd; 300 ms is what TCP connections and users do
   * not notice; 30 passes and half-second looks bound the work for a guest that writes for ever; 10
   * minutes outlast a reboot of the destination.
   */
  public static final CopyOptions DEFAULT =
      new CopyOptions(
          16,
          Duration.ofMillis(300),
          30,
          Duration.ofMinutes(10),
          Duration.ofMillis(200),
          Duration.ofSeconds(10),
          Duration.ofSeconds(30),
          Duration.ofMillis(500),
          Duration.ofSeconds(3),
          0,
          true,
          Verify.NOTHING,
          WriteOrderingPoint.Timing.DEFAULT);

  public CopyOptions withDepth(int value) {
    return change(c -> c.depth = value);
  }

  public CopyOptions withDowntimeBudget(Duration value) {
    return change(c -> c.downtimeBudget = value);
  }

  public CopyOptions withPassLimit(int value) {
    return change(c -> c.passLimit = value);
  }

  public CopyOptions withResumeWindow(Duration value) {
    return change(c -> c.resumeWindow = value);
  }

  public CopyOptions withBytesPerSecond(long value) {
    return change(c -> c.bytesPerSecond = value);
  }

  public CopyOptions withVerify(boolean keepDigests, Verify what) {
    return change(c -> {
      c.digests = keepDigests;
      c.verify = what;
    });
  }

  public CopyOptions withTiming(WriteOrderingPoint.Timing value) {
    return change(c -> c.timing = value);
  }

  private CopyOptions change(Consumer<Changed> change) {
    Changed changed = new Changed(this);
    change.accept(changed);
    return new CopyOptions(
        changed.depth,
        changed.downtimeBudget,
        changed.passLimit,
        changed.resumeWindow,
        firstRetry,
        lastRetry,
        openDeadline,
        restInterval,
        flushInterval,
        changed.bytesPerSecond,
        changed.digests,
        changed.verify,
        changed.timing);
  }

  /** The values that have a {@code with…} method. */
  private static final class Changed {
    int depth;
    Duration downtimeBudget;
    int passLimit;
    Duration resumeWindow;
    long bytesPerSecond;
    boolean digests;
    Verify verify;
    WriteOrderingPoint.Timing timing;

    Changed(CopyOptions from) {
      depth = from.depth;
      downtimeBudget = from.downtimeBudget;
      passLimit = from.passLimit;
      resumeWindow = from.resumeWindow;
      bytesPerSecond = from.bytesPerSecond;
      digests = from.digests;
      verify = from.verify;
      timing = from.timing;
    }
  }
}
