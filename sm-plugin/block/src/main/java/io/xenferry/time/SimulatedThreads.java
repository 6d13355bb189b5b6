package io.xenferry.time;

import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Blocking work of a simulated process, on simulated time: threads of which one at most runs, and
 * only while the simulation's own stands still for it, as one of the process's tasks. So it is as
 * if there were no threads at all: the same seed gives the same run.
 *
 * <p>A thread runs from one wait to the next. What it waits for being done, or its time being up,
 * is one more task of the process, in the order of all others. When the process is killed nobody
 * waits on; {@link #end} then unwinds what is left of its threads.
 */
public final class SimulatedThreads implements Threads {
  private final SimulatedScheduler.Process process;
  private final Supplier<Duration> delay;
  private final Supplier<? extends Error> killed;
  private final Set<Worker> workers = new LinkedHashSet<>();
  private int beginning;
  private @Nullable Worker running;

  /**
   * @param delay how long a thread takes to begin
   * @param killed what ends threads of a process that is dead; must not be caught by what they do
   */
  public SimulatedThreads(
      SimulatedScheduler.Process process,
      Supplier<Duration> delay,
      Supplier<? extends Error> killed) {
    this.process = process;
    this.delay = delay;
    this.killed = killed;
  }

  @Override
  public void start(String name, Work work) {
    Worker worker = new Worker(work);
    Thread thread = Thread.ofVirtual().name(name).unstarted(worker);
    beginning++;
    process.schedule(
        delay.get(),
        () -> {
          beginning--;
          workers.add(worker);
          worker.thread = thread;
          goOn(worker, thread::start);
        });
  }

  /**
   * Ends the threads of a process that is dead, wherever they wait. To be called by the simulation,
   * and by none of them.
   */
  public void end() {
    if (process.alive()) {
      throw new IllegalStateException(process.name() + " is alive");
    }
    for (Worker worker : List.copyOf(workers)) {
      handOver(worker, () -> LockSupport.unpark(worker.thread));
    }
  }

  /** Threads that have begun and not ended. */
  public int alive() {
    return workers.size();
  }

  /** Whether there are none, nor will be unless somebody starts one. */
  public boolean idle() {
    return workers.isEmpty() && beginning == 0;
  }

  /** Lets a thread run until it waits or ends. What it fails with is the simulation's failure. */
  private void goOn(Worker worker, Runnable how) {
    handOver(worker, how);
    switch (worker.failure) {
      case null -> {}
      case Error error -> throw error;
      case RuntimeException failure -> throw failure;
      case Throwable failure -> throw new IllegalStateException("a thread failed", failure);
    }
  }

  private void handOver(Worker worker, Runnable how) {
    if (running != null) {
      throw new IllegalStateException("one thread wakes another by itself");
    }
    running = worker;
    worker.simulation = Thread.currentThread();
    worker.runs = true;
    how.run();
    while (worker.runs) {
      LockSupport.park(this);
    }
    running = null;
    if (worker.ended) {
      workers.remove(worker);
    }
  }

  @Override
  public <T extends @Nullable Object> T await(CompletableFuture<T> future)
      throws InterruptedException, ExecutionException {
    if (!future.isDone()) {
      Worker worker = current();
      Wait wait = new Wait(worker);
      var unused = future.whenComplete((done, failure) -> wait.over());
      worker.pause();
    }
    return future.get();
  }

  @Override
  public <T extends @Nullable Object> T await(CompletableFuture<T> future, Duration limit)
      throws InterruptedException, ExecutionException, TimeoutException {
    if (!future.isDone()) {
      Worker worker = current();
      Wait wait = new Wait(worker);
      var unused = future.whenComplete((done, failure) -> wait.over());
      Scheduler.Cancellable patience = process.schedule(limit, wait::resume);
      worker.pause();
      patience.cancel();
      if (!future.isDone()) {
        throw new TimeoutException();
      }
    }
    return future.get();
  }

  /** Whether the calling thread is one of these, which may wait. */
  public boolean mayWait() {
    Worker worker = running;
    return worker != null && worker.thread == Thread.currentThread();
  }

  private Worker current() {
    if (!process.alive()) {
      throw killed.get();
    }
    Worker worker = running;
    if (worker == null || !mayWait()) {
      throw new IllegalStateException("who waits here would hold up the whole simulation");
    }
    return worker;
  }

  @Override
  public long nanoTime() {
    return process.nanoTime();
  }

  /** One wait of a thread, which ends once. */
  private final class Wait {
    private final Worker worker;
    private boolean ended;

    Wait(Worker worker) {
      this.worker = worker;
    }

    void over() {
      if (!ended) {
        process.execute(this::resume);
      }
    }

    void resume() {
      if (!ended) {
        ended = true;
        goOn(worker, () -> LockSupport.unpark(worker.thread));
      }
    }
  }

  private final class Worker implements Runnable {
    private final Work work;
    private @Nullable Thread thread;
    private @Nullable Thread simulation;
    private @Nullable Throwable failure;
    private boolean ended;

    /** Whose turn it is; all else is handed over with it. */
    private volatile boolean runs;

    Worker(Work work) {
      this.work = work;
    }

    @Override
    public void run() {
      try {
        work.run();
      } catch (Throwable e) {
        failure = e;
      }
      ended = true;
      handBack();
    }

    private void handBack() {
      Thread simulator = simulation;
      runs = false;
      LockSupport.unpark(simulator);
    }

    /** Until somebody lets it go on; for good if its process has been killed. */
    void pause() {
      handBack();
      while (!runs) {
        LockSupport.park(this);
      }
      if (!process.alive()) {
        throw killed.get();
      }
    }
  }
}
