package io.xenferry.server.task;

import io.xenferry.model.XenApiException;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/** A task as seen by the work that it stands for. Thread-safe. */
public interface Task {

  /** {@code OpaqueRef:…}. */
  String ref();

  /**
   * Tells how far the work is. Never goes back; steps under one per cent are not written.
   *
   * @param fraction 0 to 1
   */
  void progress(double fraction);

  /**
   * Whether cancelling is possible now; not, until said so. Clients see it, and are refused when it
   * is not: whoever asks {@link #cancelled} after this said no has the last word of them.
   */
  void cancellable(boolean possible);

  /** The end of what can be cancelled: TASK_CANCELLED if somebody asked, and from now on nobody. */
  default void pastCancelling() throws XenApiException {
    cancellable(false);
    throwIfCancelled();
  }

  /**
   * A view of the task for one of several equal steps.
   *
   * @param index from 0
   */
  default Task step(int index, int count) {
    return new PartOfTask(this, index, count);
  }

  /** A view of the task for each of several who work at it at once, none of whom ends it. */
  default Task shared() {
    return new SharedTask(this);
  }

  /**
   * Notes with the task what the work is, durably and where no client comes: a later server finds
   * it there.
   */
  void note(String key, String value) throws XenApiException;

  /**
   * Shows clients more of the work, in the task's {@code other_config}: keys replace what they had.
   * Each call is a commit and an event.
   */
  void tell(Map<String, String> more);

  boolean cancelled();

  /** Throws TASK_CANCELLED [task] once somebody asked for it. */
  void throwIfCancelled() throws XenApiException;

  /**
   * Runs when somebody cancels, at once if that has happened. On the canceller's thread: must not
   * block.
   */
  void onCancel(Runnable action);

  /**
   * The same of work that decides by itself whether it is too late: who cancels hears of that.
   *
   * @param decision asks the work, and must not block; what it returns completes when the work is
   *     sure to end, and fails when it goes on
   */
  void onCancelAsk(Supplier<CompletableFuture<Void>> decision);
}
