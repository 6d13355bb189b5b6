package io.xenferry.model.db;

import java.io.IOException;
import java.util.List;

/** Where commits become durable. Called by one thread at a time. */
interface Store extends AutoCloseable {

  /** All that was committed; called once, first. */
  State load() throws IOException;

  /**
   * Makes the commits durable, all or none, in order.
   *
   * @param generation that of the last of them
   * @throws IOException when it did not, and nothing of them will be there later either
   */
  void commit(List<Commit> commits, long generation) throws IOException;

  @Override
  void close();

  /** One transaction's writes. */
  record Commit(long generation, List<RowWrite> writes) {}

  /** Keeps nothing. */
  static Store forgetful() {
    return new Store() {
      @Override
      public State load() {
        return State.EMPTY;
      }

      @Override
      public void commit(List<Commit> commits, long generation) {}

      @Override
      public void close() {}
    };
  }
}
