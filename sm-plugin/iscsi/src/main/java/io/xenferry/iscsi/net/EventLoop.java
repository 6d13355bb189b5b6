package io.xenferry.iscsi.net;

import io.xenferry.time.Scheduler;
import io.xenferry.time.ThreadTime;
import java.io.IOException;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.time.Duration;
import java.time.Instant;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One daemon thread that serves sockets, timers and tasks, one after another. Everything attached
 * to a loop is confined to its thread and needs no locks; {@link #execute} and {@link #schedule}
 * may be called from any thread.
 */
public final class EventLoop implements Scheduler, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(EventLoop.class);

  /** What a selection key carries. */
  interface Ready {
    /** Called on the loop; an exception closes nothing by itself and is logged. */
    void ready(SelectionKey key);
  }

  private final Selector selector;
  private final Thread thread;
  private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
  private final AtomicBoolean awake = new AtomicBoolean();
  private final PriorityQueue<Timer> timers = new PriorityQueue<>();

  /** Made once: what runs in each turn leaves no garbage. */
  private final Consumer<SelectionKey> serve = this::serve;

  private volatile boolean closed;
  private volatile boolean ended;

  /**
   * Starts the loop.
   *
   * @param name of its thread
   */
  public EventLoop(String name) throws IOException {
    selector = Selector.open();
    thread = Thread.ofPlatform().daemon().name(name).unstarted(this::run);
    thread.start();
  }

  public boolean inLoop() {
    return Thread.currentThread() == thread;
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
  public Duration worked() {
    return ThreadTime.needed();
  }

  @Override
  public void execute(Runnable task) {
    tasks.add(task);
    if (ended) {
      afterTheEnd();
    } else if (!inLoop() && awake.compareAndSet(false, true)) {
      selector.wakeup();
    }
  }

  @Override
  public Cancellable schedule(Duration delay, Runnable task) {
    Timer timer = new Timer(System.nanoTime() + delay.toNanos(), task);
    if (inLoop()) {
      timers.add(timer);
    } else {
      execute(() -> timers.add(timer));
    }
    return timer;
  }

  SelectionKey register(SelectableChannel channel, int interest, Ready ready) throws IOException {
    return channel.register(selector, interest, ready);
  }

  private void run() {
    try {
      while (!closed) {
        long wait = nextTimer();
        if (!tasks.isEmpty() || wait == 0) {
          selector.selectNow(serve);
        } else {
          selector.select(serve, Math.max(0, wait));
        }
        awake.set(false);
        runTimers();
        runTasks();
      }
    } catch (IOException e) {
      log.error("{}: the selector failed", thread.getName(), e);
    } finally {
      runTasks();
      closeAll();
      ended = true;
      afterTheEnd();
    }
  }

  /** Late tasks still run, one at a time, so that nobody waits for an answer for ever. */
  private synchronized void afterTheEnd() {
    runTasks();
  }

  private void runTasks() {
    for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
      guarded(task);
    }
  }

  /** Milliseconds until the next timer, at least 1 unless due; −1 without one. */
  private long nextTimer() {
    while (true) {
      Timer first = timers.peek();
      if (first == null) {
        return -1;
      }
      if (first.cancelled) {
        timers.poll();
        continue;
      }
      long nanos = first.at - System.nanoTime();
      return nanos <= 0 ? 0 : Math.max(1, nanos / 1_000_000);
    }
  }

  private void runTimers() {
    long now = System.nanoTime();
    for (Timer first = timers.peek(); first != null && first.at - now <= 0; first = timers.peek()) {
      timers.poll();
      if (!first.cancelled) {
        guarded(first.task);
      }
    }
  }

  private void serve(SelectionKey key) {
    try {
      ((Ready) key.attachment()).ready(key);
    } catch (RuntimeException | Error e) {
      log.error("{}: a socket could not be served", thread.getName(), e);
    }
  }

  private void guarded(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException | Error e) {
      log.error("{}: a task failed", thread.getName(), e);
    }
  }

  private void closeAll() {
    try {
      for (SelectionKey key : selector.keys()) {
        key.channel().close();
      }
      selector.close();
    } catch (IOException e) {
      log.warn("{}: closing", thread.getName(), e);
    }
  }

  /** Ends the loop after the tasks that were given before; closes its sockets. Does not wait. */
  @Override
  public void close() {
    execute(() -> closed = true);
  }

  private static final class Timer implements Comparable<Timer>, Cancellable {
    private final long at;
    private final Runnable task;
    private volatile boolean cancelled;

    Timer(long at, Runnable task) {
      this.at = at;
      this.task = task;
    }

    @Override
    public int compareTo(Timer other) {
      return Long.signum(at - other.at);
    }

    @Override
    public void cancel() {
      cancelled = true;
    }
  }
}
