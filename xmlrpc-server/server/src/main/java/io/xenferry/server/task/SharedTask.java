package io.xenferry.server.task;

/**
 * A task of several who work at it at once: it stays as it is when one's part is past cancelling or
 * done.
 */
final class SharedTask extends TaskView {
  SharedTask(Task whole) {
    super(whole);
  }

  @Override
  public void progress(double fraction) {}

  @Override
  public void cancellable(boolean possible) {}
}
