package io.xenferry.time;

import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The scheduler of the running product: one daemon thread and the machine's clocks.
 *
 * <p>A task that throws is logged and does not end the thread. After {@link #close} tasks are
 * dropped silently: completions of I/O that arrive late find nobody who cares.
 */
public final class RealScheduler implements Scheduler, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(RealScheduler.class);

  /** How long {@link #close} waits for the task that is running; tasks never block. */
  private static final Duration CLOSE_PATIENCE = Duration.ofSeconds(5);

  private final ScheduledThreadPoolExecutor executor;
  private volatile Thread thread;

  /**
   * Starts the thread.
   *
   * @param name of the thread, for stack dumps
   */
  public RealScheduler(String name) {
    thread = Thread.currentThread();
    executor =
        new ScheduledThreadPoolExecutor(
            1,
            task -> {
              Thread t = new Thread(task, name);
              t.setDaemon(true);
              thread = t;
              return t;
            });
    executor.setRemoveOnCancelPolicy(true);
    executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    executor.prestartCoreThread();
  }

  @Override
  public long nanoTime() {
    return System.nanoTime();
  }

  @Override
  public Instant now() {
    return Instant.now();
  }

  @Override
  public void execute(Runnable task) {
    try {
      executor.execute(guarded(task));
    } catch (RejectedExecutionException closed) {
      LOG.debug("dropped a task: scheduler is closed");
    }
  }

  @Override
  public Cancellable schedule(Duration delay, Runnable task) {
    if (delay.isNegative()) {
      throw new IllegalArgumentException("delay " + delay);
    }
    try {
      Future<?> future = executor.schedule(guarded(task), delay.toNanos(), TimeUnit.NANOSECONDS);
      return () -> future.cancel(false);
    } catch (RejectedExecutionException closed) {
      LOG.debug("dropped a scheduled task: scheduler is closed");
      return () -> {};
    }
  }

  @Override
  public Duration worked() {
    return ThreadTime.needed();
  }

  /** Drops what has not begun and waits shortly for what is running, unless called from it. */
  @Override
  public void close() {
    executor.shutdownNow();
    if (Thread.currentThread() == thread) {
      return;
    }
    try {
      if (!executor.awaitTermination(CLOSE_PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
        LOG.warn("a task of scheduler {} does not end", thread.getName());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static Runnable guarded(Runnable task) {
    return () -> {
      try {
        task.run();
      } catch (Throwable e) {
        LOG.error("a scheduled task failed", e);
      }
    };
  }
}
