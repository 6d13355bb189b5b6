package io.xenferry.copy;

import java.time.Duration;

/**
 * How many requests of a disk may be under way so that the guest's own need not wait for long
 * behind them: fewer as reading the source takes longer than a target, whoever makes it slow, and
 * more again as it does not. A disk that is merely busy with the copy is kept as busy: what takes
 * 50 ms is far more than fills its queue. Confined to the job's scheduler.
 */
final class Yielding {
  /**
   * What a guest's request may have to wait for in the disk's queue; a rotating disk's few seeks.
   */
  private static final long TARGET = Duration.ofMillis(50).toNanos();

  /** One is read while another is written; less would be a standstill beside a busy guest. */
  private static final int LEAST = 2;

  /** Of what was under way, after each round in which reading took too long. */
  private static final double FEWER = 0.7;

  private final int most;
  private double window;
  private long fewerSince = Long.MIN_VALUE;

  /**
   * @param most requests that may be under way where nobody has to wait, 1 or more
   */
  Yielding(int most) {
    this.most = most;
    this.window = most;
  }

  /**
   * A read of the source has come back.
   *
   * @param allowed requests that may be under way for other reasons
   */
  void read(long issued, long done, int allowed) {
    if (done - issued <= TARGET) {
      window = Math.min(most, window + 1 / window);
    } else if (issued - fewerSince > 0 || fewerSince == Long.MIN_VALUE) {
      // Those that were under way already when the window became smaller say nothing new.
      window = Math.max(Math.min(LEAST, most), Math.min(window, allowed) * FEWER);
      fewerSince = done;
    }
  }

  int depth() {
    return (int) window;
  }
}
