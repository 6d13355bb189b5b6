package io.xenferry.block;

import io.xenferry.time.Scheduler;
import io.xenferry.time.Scheduler.Cancellable;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * A {@link ByteRate} that any number of backends share, with a queue of those who wait for it.
 *
 * <p>A request passes when the bucket is not overdrawn, and may overdraw it; the next ones wait, in
 * order, until the debt is paid. So a request larger than the burst is no special case.
 * Thread-safe.
 */
public final class RateLimit {
  /** No limit. */
  public static final long UNLIMITED = Long.MAX_VALUE;

  private final Scheduler scheduler;
  private final ByteRate rate;
  private final ArrayDeque<Waiter> waiters = new ArrayDeque<>();
  private Optional<Cancellable> timer = Optional.empty();

  private record Waiter(long bytes, CompletableFuture<Void> admitted) {}

  /**
   * @param bytesPerSecond 1 or more, or {@link #UNLIMITED}
   */
  public RateLimit(Scheduler scheduler, long bytesPerSecond) {
    this.scheduler = scheduler;
    this.rate = ByteRate.of(orNone(bytesPerSecond));
  }

  public long bytesPerSecond() {
    long limit = rate.bytesPerSecond();
    return limit == 0 ? UNLIMITED : limit;
  }

  /** Sets a new limit, also for those who wait already. */
  public void setBytesPerSecond(long value) {
    synchronized (this) {
      rate.set(orNone(value));
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
      long now = scheduler.nanoTime();
      long wait = rate.delay(now);
      while (!waiters.isEmpty()) {
        Waiter first = waiters.getFirst();
        if (!first.admitted.isDone()) {
          if (wait > 0) {
            break;
          }
          rate.take(first.bytes);
          wait = rate.delay(now);
          passing.add(first);
        }
        waiters.removeFirst();
      }
      if (!waiters.isEmpty() && timer.isEmpty()) {
        timer = Optional.of(scheduler.schedule(Duration.ofNanos(wait), this::tick));
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

  private static long orNone(long value) {
    if (value <= 0) {
      throw new IllegalArgumentException("rate " + value);
    }
    return value == UNLIMITED ? 0 : value;
  }
}
