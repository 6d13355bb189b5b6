package io.xenferry.time;

import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.Executor;

/**
 * Time, and the one thread of control that an event-driven component lives on.
 *
 * <p>Tasks given to {@link #execute} and {@link #schedule} run one after another, never two at
 * once, so that a component confined to its scheduler needs no locks. A component never blocks in
 * such a task. Completions of I/O that arrive on other threads hop onto the scheduler with {@code
 * execute} before they touch state.
 */
public interface Scheduler extends Executor {

  /** Monotonic time in nanoseconds; only differences mean something. */
  long nanoTime();

  /** Wall-clock time, for records that people read; never for deadlines. */
  Instant now();

  /** Runs the task on this scheduler as soon as those before it are done. */
  @Override
  void execute(Runnable task);

  /**
   * Runs the task after the delay, on this scheduler.
   *
   * @param delay zero or more
   */
  Cancellable schedule(Duration delay, Runnable task);

  /**
   * How long its thread has run until now, or waited for a processor; zero where that is not
   * counted. To be asked on this scheduler.
   */
  default Duration worked() {
    return Duration.ZERO;
  }

  /** A scheduled task that may still be called off. */
  interface Cancellable {
    /** Calls the task off; does nothing when it has run or is running. */
    void cancel();
  }
}
