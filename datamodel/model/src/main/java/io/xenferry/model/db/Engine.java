package io.xenferry.model.db;

import io.xenferry.model.ErrorCode;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The database: one thread runs the works one after another on the newest state, hands what they
 * changed to the store in batches, and only then shows it to readers, listeners and callers.
 *
 * <p>A commit waits for the store once however many works wait: while the store syncs, others
 * queue, and go together the next time.
 */
final class Engine implements ObjectDatabase {
  private static final Logger log = LoggerFactory.getLogger(Engine.class);

  /** Bounds what a failing store takes along, and how long the first of a batch waits. */
  private static final int BATCH = 256;

  private final Store store;
  private final BlockingQueue<Pending<?>> queue = new LinkedBlockingQueue<>();
  private final List<Consumer<Snapshot>> listeners = new CopyOnWriteArrayList<>();
  private final Thread writer;
  // Orders the end: nothing is queued behind the last word.
  private final ReentrantLock gate = new ReentrantLock();
  private boolean closed;
  private boolean ended;
  private volatile StateSnapshot visible;

  Engine(Store store) throws IOException {
    this.store = store;
    this.visible = new StateSnapshot(store.load());
    this.writer = Thread.ofPlatform().daemon().name("database-writer").start(this::run);
  }

  @Override
  public Snapshot snapshot() {
    return visible;
  }

  @Override
  public <R> R write(Work<R> work) throws XenApiException {
    if (Thread.currentThread() == writer) {
      throw new IllegalStateException("A transaction or a listener cannot wait for another one");
    }
    Pending<R> p = new Pending<>(work);
    gate.lock();
    try {
      if (closed) {
        throw new XenApiException(ErrorCode.INTERNAL_ERROR, "The database is closed");
      }
      queue.add(p);
    } finally {
      gate.unlock();
    }
    return p.await();
  }

  @Override
  public Registration onCommit(Consumer<Snapshot> listener) {
    // A wrapper, so that one consumer may be registered twice.
    Consumer<Snapshot> own = listener::accept;
    listeners.add(own);
    return () -> listeners.remove(own);
  }

  /** Ends after what is queued; waits for that. */
  @Override
  public void close() {
    gate.lock();
    try {
      if (ended) {
        return;
      }
      ended = true;
      if (!closed) {
        closed = true;
        queue.add(new Pending<Void>(null));
      }
    } finally {
      gate.unlock();
    }
    boolean interrupted = false;
    while (writer.isAlive()) {
      try {
        writer.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    store.close();
  }

  /** Works that wait for their turn. */
  int queued() {
    return queue.size();
  }

  private void run() {
    List<Pending<?>> batch = new ArrayList<>();
    while (true) {
      batch.clear();
      try {
        batch.add(queue.take());
      } catch (InterruptedException e) {
        // Nobody interrupts this thread; the last word ends it.
        continue;
      }
      queue.drainTo(batch, BATCH - 1);
      boolean last = batch.removeIf(p -> p.work == null);
      try {
        commit(batch);
      } catch (RuntimeException | Error e) {
        // Out of memory, for one. What is visible still is what is durable; nobody may wait for
        // a thread that is gone.
        log.error("The database's writer failed; it takes no more changes until a restart", e);
        fail(batch, e);
        return;
      }
      if (last && queue.isEmpty()) {
        return;
      }
    }
  }

  /** Ends for good, and tells everybody who waits. */
  private void fail(List<Pending<?>> batch, Throwable cause) {
    gate.lock();
    try {
      closed = true;
      queue.drainTo(batch);
    } finally {
      gate.unlock();
    }
    batch.forEach(p -> p.fail(cause));
  }

  private void commit(List<Pending<?>> batch) {
    State state = visible.state();
    List<Pending<?>> done = new ArrayList<>();
    List<Store.Commit> commits = new ArrayList<>();
    for (Pending<?> p : batch) {
      StateTransaction tx = new StateTransaction(state);
      if (!p.run(tx)) {
        continue;
      }
      done.add(p);
      if (!tx.writes().isEmpty()) {
        state = tx.state();
        p.state = state;
        commits.add(new Store.Commit(state.generation(), List.copyOf(tx.writes())));
      }
    }
    try {
      if (!commits.isEmpty()) {
        store.commit(commits, state.generation());
      }
    } catch (IOException | RuntimeException e) {
      log.error("The database could not store {} changes; they are undone", commits.size(), e);
      done.forEach(p -> p.fail(e));
      return;
    }
    for (Pending<?> p : done) {
      State s = p.state;
      if (s != null) {
        StateSnapshot snapshot = new StateSnapshot(s);
        visible = snapshot;
        listeners.forEach(l -> tell(l, snapshot));
      }
      p.succeed();
    }
  }

  private static void tell(Consumer<Snapshot> listener, Snapshot snapshot) {
    try {
      listener.accept(snapshot);
    } catch (RuntimeException e) {
      log.error("A listener to commits failed", e);
    }
  }

  /** A work that waits for its turn, and its outcome. */
  private static final class Pending<R> {
    private final @Nullable Work<R> work;
    private final CompletableFuture<Outcome<R>> outcome = new CompletableFuture<>();
    private @Nullable Outcome<R> result;
    private @Nullable State state;

    Pending(@Nullable Work<R> work) {
      this.work = work;
    }

    /** Whether the work ended well. */
    @SuppressWarnings("NullAway") // only the last word has no work, and it is never run
    boolean run(StateTransaction tx) {
      try {
        result = new Outcome<>(work.run(tx), null);
        return true;
      } catch (XenApiException | RuntimeException | Error e) {
        outcome.complete(new Outcome<>(null, e));
        return false;
      } finally {
        tx.end();
      }
    }

    void succeed() {
      outcome.complete(result);
    }

    void fail(Throwable cause) {
      outcome.complete(
          new Outcome<>(
              null,
              new XenApiException(
                      ErrorCode.INTERNAL_ERROR, "The database could not store the change: " + cause)
                  .withCause(cause)));
    }

    /** Waits through interrupts, since the commit goes on without the caller, and soon ends. */
    @SuppressWarnings("NullAway") // a work may return null where its type says so
    R await() throws XenApiException {
      boolean interrupted = false;
      try {
        while (true) {
          try {
            Outcome<R> o = outcome.get();
            switch (o.failure) {
              case null -> {
                return o.value;
              }
              case XenApiException e -> throw e;
              case RuntimeException e -> throw e;
              case Error e -> throw e;
              default -> throw new IllegalStateException(o.failure);
            }
          } catch (InterruptedException e) {
            interrupted = true;
          } catch (ExecutionException e) {
            throw new IllegalStateException(e);
          }
        }
      } finally {
        if (interrupted) {
          Thread.currentThread().interrupt();
        }
      }
    }
  }

  private record Outcome<R>(@Nullable R value, @Nullable Throwable failure) {}
}
