package io.xenferry.server.task;

import io.xenferry.model.XenApiException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a task stands for. */
@FunctionalInterface
public interface TaskWork {
  /**
   * @return the result, as a {@code <value>} element
   */
  String run() throws XenApiException, InterruptedException;

  /**
   * Does the work, and completes its task with what that comes to. Work that is interrupted, since
   * the server stops, is left to the next one: see {@link Tasks}.
   *
   * @param name of the work, for the log
   */
  static void carryOut(Tasks tasks, Task task, String name, TaskWork work) {
    Logger log = LoggerFactory.getLogger(TaskWork.class);
    try {
      XenApiException failure;
      try {
        task.throwIfCancelled();
        tasks.succeed(task.ref(), work.run());
        return;
      } catch (XenApiException e) {
        failure = e;
      } catch (InterruptedException e) {
        log.info("{} is left to the next server", task.ref());
        Thread.currentThread().interrupt();
        return;
      } catch (RuntimeException e) {
        log.error("{} failed unexpectedly", name, e);
        failure = new XenApiException("INTERNAL_ERROR", e.toString()).withCause(e);
      }
      tasks.fail(task.ref(), failure);
    } catch (XenApiException | RuntimeException e) {
      log.error("task {} could not be completed", task.ref(), e);
    }
  }
}
