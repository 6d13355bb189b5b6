package io.xenferry.server.task;

import io.xenferry.model.XenApiException;
import java.util.Map;

/**
 * One of several equal steps of a task, which tells how far the step is.
 *
 * @param index of the step, from 0
 * @param count of steps, 1 or more
 */
record PartOfTask(Task whole, int index, int count) implements Task {
  @Override
  public String ref() {
    return whole.ref();
  }

  @Override
  public void progress(double fraction) {
    whole.progress((index + fraction) / count);
  }

  @Override
  public void cancellable(boolean possible) {
    whole.cancellable(possible);
  }

  @Override
  public void note(String key, String value) throws XenApiException {
    whole.note(key, value);
  }

  @Override
  public void tell(Map<String, String> more) {
    whole.tell(more);
  }

  @Override
  public boolean cancelled() {
    return whole.cancelled();
  }

  @Override
  public void throwIfCancelled() throws XenApiException {
    whole.throwIfCancelled();
  }

  @Override
  public void onCancel(Runnable action) {
    whole.onCancel(action);
  }
}
