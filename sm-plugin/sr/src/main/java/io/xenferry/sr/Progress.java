package io.xenferry.sr;

/** How a long operation tells how far it is, and learns that it is no longer wanted. */
public interface Progress {
  Progress NONE =
      new Progress() {
        @Override
        public void report(double fraction) {}

        @Override
        public boolean isCancelled() {
          return false;
        }
      };

  /** From 0 to 1, never going back. */
  void report(double fraction);

  boolean isCancelled();
}
