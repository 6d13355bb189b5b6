package io.xenferry.block;

import io.xenferry.time.Scheduler;
import io.xenferry.time.Scheduler.Cancellable;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * A token bucket that any number of backends share: bytes a second, changeable while it runs.
 *
 * <p>A request passes when the bucket is not empty, and may overdraw it; the next ones wait, in
 * order, until the debt is paid. So a request larger than the burst is no special case.
 * Thread-safe.
 */
public final class RateLimit {
  /** No limit. */
  public static final long UNLIMITED = Long.MAX_VALUE;

  /** What may be sent at once after a pause: short enough that a limit of a link is kept. */
  private static final Duration BURST = Duration.ofMillis(100);

  private final Scheduler scheduler;
  private final ArrayDeque<Waiter> waiters = new ArrayDeque<>();
  private long bytesPerSecond;
  private double tokens;
  private long filledAt;
  private Optional<Cancellable> timer = Optional.empty();

  private record Waiter(long bytes, CompletableFuture<Void> admitted) {}

  /**
   * Makes a full bucket.
   *
   * @param bytesPerSecond 1 or more, or {@link #UNLIMITED}
   */
  public RateLimit(Scheduler scheduler, long bytesPerSecond) {
    this.scheduler = scheduler;
    this.filledAt = scheduler.nanoTime();
    this.bytesPerSecond = positive(bytesPerSecond);
    this.tokens = burst();
  }

  public synchronized long bytesPerSecond() {
    return bytesPerSecond;
  }

  /** Sets a new limit, also for those who wait already. */
  public void setBytesPerSecond(long value) {
    synchronized (this) {
      fill();
      bytesPerSecond = positive(value);
      tokens = Math.min(tokens, burst());
      timer.ifPresent(Cancellable::cancel);
      timer = Optional.empty();
    }
    admit();
  }

  /** Completes when the bytes may go. Cancelling the future gives the place in the queue up. */
  public CompletableFuture<Void> acquire(long bytes) {
    CompletableFuture<Void> admitted = new CompletableFuture<>();
    synchronized (this) {
      waiters.add(new Waiter(bytes, admitted));
    }
    admit();
    return admitted;
  }

  private void admit() {
    ArrayDeque<Waiter> passing = new ArrayDeque<>();
    synchronized (this) {
      fill();
      while (!waiters.isEmpty()) {
        Waiter first = waiters.getFirst();
        if (!first.admitted.isDone()) {
          if (bytesPerSecond != UNLIMITED && tokens <= 0) {
            break;
          }
          tokens -= bytesPerSecond == UNLIMITED ? 0 : first.bytes;
          passing.add(first);
        }
        waiters.removeFirst();
      }
      if (!waiters.isEmpty() && timer.isEmpty()) {
        // Rounded up, so that the bucket is above empty when the timer fires.
        long nanos = (long) ((1 - tokens) / bytesPerSecond * 1e9) + 1_000;
        timer = Optional.of(scheduler.schedule(Duration.ofNanos(nanos), this::tick));
      }
    }
    passing.forEach(w -> w.admitted.complete(null));
  }

  private void tick() {
    synchronized (this) {
      timer = Optional.empty();
    }
    admit();
  }

  private void fill() {
    long now = scheduler.nanoTime();
    if (bytesPerSecond == UNLIMITED) {
      tokens = 0;
    } else {
      tokens = Math.min(burst(), tokens + (now - filledAt) / 1e9 * bytesPerSecond);
    }
    filledAt = now;
  }

  private double burst() {
    return bytesPerSecond == UNLIMITED ? 0 : bytesPerSecond * (BURST.toNanos() / 1e9);
  }

  private static long positive(long value) {
    if (value <= 0) {
      throw new IllegalArgumentException("rate " + value);
    }
    return value;
  }
}
