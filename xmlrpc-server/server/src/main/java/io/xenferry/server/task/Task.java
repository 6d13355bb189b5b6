package io.xenferry.server.task;

import io.xenferry.model.XenApiException;

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

  /** Whether cancelling is possible now; not, until said so. Clients see it. */
  void cancellable(boolean possible);

  /** Notes in the task's other_config what the work is, durably: a later server finds it there. */
  void note(String key, String value) throws XenApiException;

  boolean cancelled();

  /** Throws TASK_CANCELLED [task] once somebody asked for it. */
  void throwIfCancelled() throws XenApiException;

  /**
   * Runs when somebody cancels, at once if that has happened. On the canceller's thread: must not
   * block.
   */
  void onCancel(Runnable action);
}
