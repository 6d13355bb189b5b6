package io.xenferry.server.storage;

import io.xenferry.server.task.Task;
import io.xenferry.sr.Progress;

/**
 * A task as SR drivers see it.
 *
 * @param share of the whole that the drivers' work is, 0 to 1
 */
record TaskProgress(Task task, double share) implements Progress {
  @Override
  public void report(double fraction) {
    task.progress(share * fraction);
  }

  @Override
  public boolean isCancelled() {
    return task.cancelled();
  }
}
