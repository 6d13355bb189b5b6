package io.xenferry.block;

/**
 * A token bucket in bytes a second that may be changed while it is used. Thread-safe; never blocks:
 * it answers how long to wait.
 */
public final class ByteRate {
  /** Credit that an idle time may save up; more would let a burst through. */
  private static final double BURST_SECONDS = 0.1;

  private double bytesPerSecond;
  private double credit;
  private long last = Long.MIN_VALUE;

  private ByteRate(double bytesPerSecond) {
    this.bytesPerSecond = bytesPerSecond;
  }

  public static ByteRate unlimited() {
    return new ByteRate(0);
  }

  /**
   * @param bytesPerSecond 0 for no limit
   */
  public static ByteRate of(long bytesPerSecond) {
    return new ByteRate(bytesPerSecond);
  }

  /**
   * Changes the limit, at once.
   *
   * @param bytesPerSecond 0 for no limit
   */
  public synchronized void set(long bytesPerSecond) {
    this.bytesPerSecond = bytesPerSecond;
    this.credit = Math.max(credit, 0);
  }

  public synchronized long bytesPerSecond() {
    return (long) bytesPerSecond;
  }

  /**
   * How long to wait before the next request may go.
   *
   * @param now of a monotonic clock, always the same
   * @return nanoseconds; 0 for now
   */
  public synchronized long delay(long now) {
    if (bytesPerSecond <= 0) {
      return 0;
    }
    if (last != Long.MIN_VALUE) {
      credit += (now - last) * bytesPerSecond / 1e9;
    }
    last = now;
    credit = Math.min(credit, bytesPerSecond * BURST_SECONDS);
    return credit >= 0 ? 0 : (long) Math.ceil(-credit / bytesPerSecond * 1e9);
  }

  /** Takes the bytes of a request that goes now; negative gives back what was not needed. */
  public synchronized void take(long bytes) {
    if (bytesPerSecond > 0) {
      credit -= bytes;
    }
  }
}
