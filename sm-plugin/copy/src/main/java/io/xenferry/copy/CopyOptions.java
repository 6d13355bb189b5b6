package io.xenferry.copy;

import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * How a job copies. Every value is positive unless said otherwise.
 *
 * @param depth requests in flight to one disk at the most; how many there are is found by measuring
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
 * @param bytesPerSecondOfEach limit of each disk by itself, 0 for none; may be changed while
 *     running
 * @param verify what is compared at both ends
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
    long bytesPerSecondOfEach,
    Verify verify,
    WriteOrderingPoint.Timing timing) {

  /**
   * Of which blocks source and destination are compared before the job says DRAINED. Those sent
   * before the drain are while the guest runs: the job has not converged before. What was compared
   * before it was to be sent, and needed not be, is not compared again. A copy that goes on where
   * an earlier one was verifies what it sends itself: to have all of the disk verified, mark all of
   * it dirty and have it compared ({@link DiskPlan#comparing}).
   */
  public enum Verify {
    NOTHING,
    /** One block of 64 that are allocated, chosen at random, and a thousand at the least. */
    SAMPLED,
    /**
     * Every block, those that a mirror has written and those of zeroes that were never sent, too.
     * Where the destination has layers below, only what was sent.
     */
    EVERYTHING,
    /**
     * The same, and once the guest stands still all of it again, read at both ends: also what was
     * changed past the copy, at the source or at the destination.
     */
    PAUSED;

    /** What a move is told by its option of that name. */
    public static final String OPTION = "verify";

    private static final Map<String, Verify> WORDS =
        Map.of(
            "none", NOTHING,
            "false", NOTHING,
            "sampled", SAMPLED,
            "full", EVERYTHING,
            "true", EVERYTHING,
            "paused", PAUSED);

    /** Whether it is a word that means one of them, in any case of its letters. */
    public static boolean isWord(String word) {
      return WORDS.containsKey(word.toLowerCase(Locale.ROOT));
    }

    /** Whether all that is sent is compared, and not only some of it. */
    boolean isOfEverything() {
      return this == EVERYTHING || this == PAUSED;
    }

    /** By a word; nothing for none, and for one that is unknown. */
    public static Verify of(@Nullable String word) {
      return word == null ? NOTHING : WORDS.getOrDefault(word.toLowerCase(Locale.ROOT), NOTHING);
    }

    public String word() {
      return switch (this) {
        case NOTHING -> "none";
        case SAMPLED -> "sampled";
        case EVERYTHING -> "full";
        case PAUSED -> "paused";
      };
    }
  }

  /**
   * The defaults: 64 requests, 32 MiB, fill a link of 2.5 Gbit/s with a round trip of 100 ms; 300
   * ms is what TCP connections and users do not notice; 30 passes and half-second looks bound the
   * work for a guest that writes for ever; 10 minutes outlast a reboot of the destination.
   */
  public static final CopyOptions DEFAULT =
      new CopyOptions(
          64,
          Duration.ofMillis(300),
          30,
          Duration.ofMinutes(10),
          Duration.ofMillis(200),
          Duration.ofSeconds(10),
          Duration.ofSeconds(30),
          Duration.ofMillis(500),
          Duration.ofSeconds(3),
          0,
          0,
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

  public CopyOptions withBytesPerSecondOfEach(long value) {
    return change(c -> c.bytesPerSecondOfEach = value);
  }

  public CopyOptions withVerify(Verify what) {
    return change(c -> c.verify = what);
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
        changed.bytesPerSecondOfEach,
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
    long bytesPerSecondOfEach;
    Verify verify;
    WriteOrderingPoint.Timing timing;

    Changed(CopyOptions from) {
      depth = from.depth;
      downtimeBudget = from.downtimeBudget;
      passLimit = from.passLimit;
      resumeWindow = from.resumeWindow;
      bytesPerSecond = from.bytesPerSecond;
      bytesPerSecondOfEach = from.bytesPerSecondOfEach;
      verify = from.verify;
      timing = from.timing;
    }
  }
}
