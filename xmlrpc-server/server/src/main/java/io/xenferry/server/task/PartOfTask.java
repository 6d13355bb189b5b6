package io.xenferry.server.task;

/** One of several equal steps of a task, which tells how far the step is. */
final class PartOfTask extends TaskView {
  private final int index;
  private final int count;

  /**
   * @param index of the step, from 0
   * @param count of steps, 1 or more
   */
  PartOfTask(Task whole, int index, int count) {
    super(whole);
    this.index = index;
    this.count = count;
  }

  @Override
  public void progress(double fraction) {
    super.progress((index + fraction) / count);
  }
}
