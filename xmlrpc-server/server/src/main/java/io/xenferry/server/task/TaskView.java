package io.xenferry.server.task;

import io.xenferry.model.XenApiException;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/** A task as one of those who work at it sees it: the task itself, but for what is overridden. */
abstract class TaskView implements Task {
  private final Task whole;

  TaskView(Task whole) {
    this.whole = whole;
  }

  @Override
  public String ref() {
    return whole.ref();
  }

  @Override
  public void progress(double fraction) {
    whole.progress(fraction);
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

  @Override
  public void onCancelAsk(Supplier<CompletableFuture<Void>> decision) {
    whole.onCancelAsk(decision);
  }
}
