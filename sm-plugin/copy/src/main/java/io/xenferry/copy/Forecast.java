package io.xenferry.copy;

import java.time.Duration;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.LongSupplier;

/**
 * What may be expected of a disk's copy: whether the rest fits the downtime, whether passes get
 * anywhere, how far all is. Confined to the job's scheduler.
 */
final class Forecast {
  /** A dirty set that keeps more than this share from one pass to the next does not converge. */
  private static final double SHRINKS = 0.8;

  /** Nobody is asked to write slower than this. */
  private static final long SLOWEST_GUEST = 1 << 20;

  /** A prediction beyond this says only that there is no end in sight. */
  private static final Duration LONGEST_TOLD = Duration.ofDays(1);

  private final CopyOptions options;
  private final DiskCounters counters;
  private Duration budget;
  private LongSupplier limit = () -> 0;
  private int passesBefore;
  private int flushesSince;
  private boolean firstPassDone;
  private int throttles;
  private long left;

  Forecast(CopyOptions options, DiskCounters counters, long size) {
    this.options = options;
    this.counters = counters;
    this.left = size;
    this.budget = options.downtimeBudget();
  }

  boolean firstPassDone() {
    return firstPassDone;
  }

  void passDone() {
    firstPassDone = true;
  }

  /** Bytes still to be sent, as last heard. */
  long left() {
    return left;
  }

  void left(long bytes) {
    left = bytes;
  }

  /** How long the guest may be paused for what is left. */
  void budget(Duration allowed) {
    budget = allowed;
  }

  /**
   * What no disk may exceed from now on, however fast it has been until now.
   *
   * @param bytesPerSecond 0 for no limit
   */
  void limitedBy(LongSupplier bytesPerSecond) {
    limit = bytesPerSecond;
  }

  void countPassesAnew() {
    passesBefore = counters.passCount();
    flushesSince = 0;
  }

  /** All that is left beneath a mirror was flushed once more, which counts as a pass. */
  void flushedAgain() {
    flushesSince++;
  }

  boolean limitReached() {
    return counters.passCount() - passesBefore + flushesSince >= options.passLimit();
  }

  boolean fits(long now) {
    return firstPassDone && downtime(now).compareTo(budget) <= 0;
  }

  /** How long what is left would take with the guest frozen. */
  Duration downtime(long now) {
    long measured = counters.rate(now);
    long most = limit.getAsLong();
    long rate = most > 0 ? Math.min(measured, most) : measured;
    double seconds = (double) left / Math.max(1, rate);
    return Duration.ofNanos((long) (Math.min(seconds, 1e6) * 1e9) + counters.flushNanos);
  }

  /**
   * How long the disk will keep the guest paused: as what is left now would, and no longer than is
   * allowed, since passes go on until it fits that, unless they get no shorter. Empty where it
   * would be more than anybody waits for.
   */
  Optional<Duration> expectedDowntime(long now) {
    Duration atOnce = downtime(now);
    if (!diverges() && !limitReached()) {
      return Optional.of(atOnce.compareTo(budget) < 0 ? atOnce : budget);
    }
    return Optional.of(atOnce).filter(told -> told.compareTo(LONGEST_TOLD) <= 0);
  }

  /** Whether passes get no shorter. */
  boolean diverges() {
    return counters.passCount() >= 3
        && left > SHRINKS * counters.dirtyOfPassBefore(0)
        && counters.dirtyOfPassBefore(0) > SHRINKS * counters.dirtyOfPassBefore(1);
  }

  /** How many bytes a second the guest should write at most; empty while passes get shorter. */
  OptionalLong throttle(long now) {
    if (diverges()) {
      return OptionalLong.of(Math.max(SLOWEST_GUEST, counters.rate(now) >> ++throttles));
    }
    return OptionalLong.empty();
  }

  /** What the disk counts in the progress of the whole job. */
  long weight() {
    return firstPassDone ? counters.allocated : Math.max(counters.passDirty(), 1);
  }

  /** The share of the first pass that is done; after it, how near to nothing the rest is. */
  double progress() {
    if (!firstPassDone) {
      return 0.9 * Math.min(1, (double) counters.doneInPass() / Math.max(1, counters.passDirty()));
    }
    double open = Math.min(1, (double) left / Math.max(1, counters.allocated));
    return 0.9 + 0.08 * (1 - open);
  }
}
