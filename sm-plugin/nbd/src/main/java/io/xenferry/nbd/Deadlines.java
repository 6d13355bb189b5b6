package io.xenferry.nbd;

import java.time.Duration;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** One daemon thread that ends what waits too long on a blocking socket, by closing it. */
final class Deadlines {
  private static final ScheduledThreadPoolExecutor TIMER = timer();

  private Deadlines() {}

  /** A deadline that was set. */
  static final class Watch {
    private final AtomicBoolean decided = new AtomicBoolean();
    private volatile boolean inTime;

    /** Calls it off; false when it had passed already. Repeating it answers the same. */
    boolean cancel() {
      if (decided.compareAndSet(false, true)) {
        inTime = true;
      }
      return inTime;
    }
  }

  /** Runs a short action unless it is called off before. */
  static Watch after(Duration delay, Runnable action) {
    Watch watch = new Watch();
    TIMER.schedule(
        () -> {
          if (watch.decided.compareAndSet(false, true)) {
            action.run();
          }
        },
        delay.toNanos(),
        TimeUnit.NANOSECONDS);
    return watch;
  }

  /** Runs a short check again and again until the answer is cancelled. */
  static ScheduledFuture<?> every(Duration period, Runnable check) {
    return TIMER.scheduleWithFixedDelay(
        check, period.toNanos(), period.toNanos(), TimeUnit.NANOSECONDS);
  }

  private static ScheduledThreadPoolExecutor timer() {
    ScheduledThreadPoolExecutor timer =
        new ScheduledThreadPoolExecutor(
            1, task -> Thread.ofPlatform().daemon().name("nbd-deadlines").unstarted(task));
    timer.setRemoveOnCancelPolicy(true);
    return timer;
  }
}
