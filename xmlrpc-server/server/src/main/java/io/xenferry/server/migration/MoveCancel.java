package io.xenferry.server.migration;

import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;
import io.xenferry.time.Threads;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * A cancel of a move that has no row in the ledger yet, whoever asks for it: all that the move
 * waits for until then heeds it. Thread-safe.
 */
final class MoveCancel {
  private final Task task;
  private final CompletableFuture<Void> asked = new CompletableFuture<>();
  private volatile boolean begun;

  private MoveCancel(Task task) {
    this.task = task;
  }

  /** Of the move that a task stands for; who cancels the task cancels the move. */
  static MoveCancel of(Task task) {
    MoveCancel cancel = new MoveCancel(task);
    task.onCancel(cancel::ask);
    return cancel;
  }

  void ask() {
    asked.complete(null);
  }

  /** The move has a row, and the coordinator decides whether it is too late for a cancel. */
  void moveHasBegun() {
    begun = true;
  }

  /**
   * What is told of a move that has come to nothing: who has cancelled it was told so, and from now
   * on nobody is.
   */
  XenApiException instead(XenApiException failure) {
    if (begun) {
      return failure;
    }
    task.cancellable(false);
    return asked() || task.cancelled()
        ? new XenApiException("TASK_CANCELLED", task.ref()).withCause(failure)
        : failure;
  }

  boolean asked() {
    return asked.isDone();
  }

  /** Runs on the thread of who asks, at once if that has happened; must not block. */
  void then(Runnable action) {
    var unused = asked.thenRun(action);
  }

  /**
   * @throws XenApiException TASK_CANCELLED [task]
   */
  void throwIfAsked() throws XenApiException {
    if (asked()) {
      throw new XenApiException("TASK_CANCELLED", task.ref());
    }
  }

  /**
   * Returns when something is done, well or not.
   *
   * @throws XenApiException TASK_CANCELLED [task] when somebody asks before that
   */
  void await(CompletableFuture<?> work, Threads threads)
      throws XenApiException, InterruptedException {
    CompletableFuture<Boolean> done = work.handle((result, failure) -> true);
    try {
      threads.await(CompletableFuture.anyOf(done, asked));
    } catch (ExecutionException e) {
      throw new IllegalStateException("neither fails", e);
    }
    if (!work.isDone()) {
      throwIfAsked();
    }
  }
}
