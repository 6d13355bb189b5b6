package io.xenferry.model.db;

import io.xenferry.model.XenApiException;
import java.util.concurrent.CompletableFuture;

/**
 * The database of a pool. One writer at a time, any number of readers; a commit is first made
 * durable, then visible to readers and listeners, then acknowledged.
 */
public interface ObjectDatabase extends AutoCloseable {

  /** The newest durable state. */
  Snapshot snapshot();

  /**
   * Runs the work and commits what it did, or nothing when it throws. Returns when the commit is
   * durable and visible. The work must be short, and does no I/O: others wait for it.
   */
  <R> R write(Work<R> work) throws XenApiException;

  /** The same, for work that has no result. */
  default void change(Change change) throws XenApiException {
    write(tx -> {
      change.apply(tx);
      return tx;
    });
  }

  /**
   * Makes a change that must not be lost, such as the end of something: where the disk is full it
   * is tried again, about once a second, until there is room or the database is closed. Other
   * changes may come in between.
   *
   * @return completes once it is durable and visible, before this returns if it can be; fails with
   *     what the work throws, and when the database is closed
   */
  default CompletableFuture<Void> insist(Change change) {
    CompletableFuture<Void> made = new CompletableFuture<>();
    if (!Insistence.attempt(this, change, made)) {
      Thread.ofVirtual().name("insist").start(() -> Insistence.until(this, change, made));
    }
    return made;
  }

  /**
   * Calls the listener after every commit, in order, once it is visible. The listener must not
   * block. Close the registration to end it.
   */
  Registration onCommit(java.util.function.Consumer<Snapshot> listener);

  @Override
  void close();

  /** Work inside a transaction. */
  @FunctionalInterface
  interface Work<R> {
    R run(Transaction tx) throws XenApiException;
  }

  /** Work without a result. */
  @FunctionalInterface
  interface Change {
    void apply(Transaction tx) throws XenApiException;
  }

  /** A listener's place. */
  interface Registration extends AutoCloseable {
    @Override
    void close();
  }
}
