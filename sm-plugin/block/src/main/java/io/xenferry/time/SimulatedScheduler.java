package io.xenferry.time;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Random;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A scheduler on virtual time: a queue in one total order, and a seed from which all chance comes.
 *
 * <p>Nothing happens until the test calls one of the run methods; then the tasks run on the calling
 * thread, in order of their due time, and in order of submission among those due at once. Time
 * jumps from task to task. The same seed and the same program give the same order, which {@link
 * #fingerprint} lets a test check.
 *
 * <p>Confined to one thread. An exception of a task ends the run and reaches its caller, since in a
 * simulation a failed assertion must not go unseen.
 */
public final class SimulatedScheduler implements Scheduler {
  private static final Instant EPOCH = Instant.parse("2030-01-01T00:00:00Z");

  /** So many tasks at one instant mean that they submit each other for ever. */
  private static final int LIVELOCK = 100_000;

  private final long seed;
  private final Random random;
  private final PriorityQueue<Task> queue = new PriorityQueue<>();
  private final List<Runnable> observers = new ArrayList<>();
  private long now;
  private long nextOrder;
  private long executed;
  private int sameInstant;
  private long fingerprint = 1;

  public SimulatedScheduler(long seed) {
    this.seed = seed;
    this.random = new Random(seed);
  }

  public long seed() {
    return seed;
  }

  /** The source of all chance; calls are part of what must happen in a fixed order. */
  public Random random() {
    return random;
  }

  /**
   * A scheduler with the same time and order whose tasks can be dropped all at once: what a process
   * of a simulated host lives on.
   */
  public Process process(String name) {
    return new Process(name);
  }

  /** Runs the observer after every task: where invariants are checked. */
  public void afterEachTask(Runnable observer) {
    observers.add(observer);
  }

  @Override
  public long nanoTime() {
    return now;
  }

  @Override
  public Instant now() {
    return EPOCH.plusNanos(now);
  }

  @Override
  public void execute(Runnable task) {
    schedule(Duration.ZERO, task);
  }

  @Override
  public Cancellable schedule(Duration delay, Runnable task) {
    return enqueue(delay, task, null);
  }

  /** Tasks run so far. */
  public long executed() {
    return executed;
  }

  /** Tasks that wait, those called off among them. */
  public int pending() {
    return queue.size();
  }

  /** A hash of when and in which order tasks ran; equal for equal runs. */
  public long fingerprint() {
    return fingerprint;
  }

  /**
   * Runs the next task.
   *
   * @return false when there was none
   */
  public boolean step() {
    Task task;
    do {
      task = queue.poll();
      if (task == null) {
        return false;
      }
    } while (task.dropped());
    sameInstant = task.due == now ? sameInstant + 1 : 0;
    if (sameInstant > LIVELOCK) {
      throw new IllegalStateException(
          "time stands still at %d ns: %s".formatted(now, task.work.getClass()));
    }
    now = task.due;
    task.ran = true;
    executed++;
    fingerprint = (fingerprint * 31 + task.due) * 31 + task.order;
    task.work.run();
    for (Runnable observer : observers) {
      observer.run();
    }
    return true;
  }

  /** Runs what is due within the duration, and moves the time to its end. */
  public void runFor(Duration duration) {
    long end = now + duration.toNanos();
    while (dueBefore(end)) {
      step();
    }
    now = end;
  }

  /**
   * Runs until the condition holds.
   *
   * @param limit of virtual time
   * @return whether it came to hold before the limit, or before nothing was left to do
   */
  public boolean runUntil(BooleanSupplier condition, Duration limit) {
    long end = now + limit.toNanos();
    while (!condition.getAsBoolean()) {
      if (!dueBefore(end)) {
        return false;
      }
      step();
    }
    return true;
  }

  private boolean dueBefore(long end) {
    Task head = queue.peek();
    while (head != null && head.dropped()) {
      queue.poll();
      head = queue.peek();
    }
    return head != null && head.due <= end;
  }

  private Cancellable enqueue(Duration delay, Runnable work, @Nullable Process owner) {
    if (delay.isNegative()) {
      throw new IllegalArgumentException("delay " + delay);
    }
    Task task = new Task(now + delay.toNanos(), nextOrder++, work, owner);
    queue.add(task);
    return task;
  }

  /** A part of the simulation that can die: see {@link SimulatedScheduler#process}. */
  public final class Process implements Scheduler {
    private final String name;
    private boolean dead;

    private Process(String name) {
      this.name = name;
    }

    public String name() {
      return name;
    }

    /** Drops all its tasks, those submitted later too, as SIGKILL does. */
    public void kill() {
      dead = true;
    }

    public boolean alive() {
      return !dead;
    }

    @Override
    public long nanoTime() {
      return SimulatedScheduler.this.nanoTime();
    }

    @Override
    public Instant now() {
      return SimulatedScheduler.this.now();
    }

    @Override
    public void execute(Runnable task) {
      schedule(Duration.ZERO, task);
    }

    @Override
    public Cancellable schedule(Duration delay, Runnable task) {
      return enqueue(delay, task, this);
    }
  }

  private static final class Task implements Cancellable, Comparable<Task> {
    final long due;
    final long order;
    final Runnable work;
    final @Nullable Process owner;
    boolean ran;
    boolean cancelled;

    Task(long due, long order, Runnable work, @Nullable Process owner) {
      this.due = due;
      this.order = order;
      this.work = work;
      this.owner = owner;
    }

    boolean dropped() {
      return cancelled || (owner != null && owner.dead);
    }

    @Override
    public void cancel() {
      if (!ran) {
        cancelled = true;
      }
    }

    @Override
    public int compareTo(Task other) {
      int byTime = Long.compare(due, other.due);
      return byTime != 0 ? byTime : Long.compare(order, other.order);
    }
  }
}
