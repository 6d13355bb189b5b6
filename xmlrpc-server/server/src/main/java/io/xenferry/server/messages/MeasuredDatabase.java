package io.xenferry.server.messages;

import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import java.util.function.Consumer;

/** A database of which it is known how long its writes take. Thread-safe. */
public final class MeasuredDatabase implements ObjectDatabase {
  private final ObjectDatabase database;

  /** Guarded by this, as is what follows; in nanoseconds. */
  private long count;

  private long total;
  private long shortest = Long.MAX_VALUE;
  private long longest;

  public MeasuredDatabase(ObjectDatabase database) {
    this.database = database;
  }

  /**
   * Writes since the start, from asking until they were durable or had failed.
   *
   * @param count of them; without any, the times are 0
   * @param mean in seconds, as are the other two
   */
  record Writes(long count, double mean, double shortest, double longest) {}

  synchronized Writes writes() {
    return count == 0
        ? new Writes(0, 0, 0, 0)
        : new Writes(count, total / 1e9 / count, shortest / 1e9, longest / 1e9);
  }

  private synchronized void took(long nanos) {
    count++;
    total += nanos;
    shortest = Math.min(shortest, nanos);
    longest = Math.max(longest, nanos);
  }

  @Override
  public Snapshot snapshot() {
    return database.snapshot();
  }

  @Override
  public <R> R write(Work<R> work) throws XenApiException {
    long start = System.nanoTime();
    try {
      return database.write(work);
    } finally {
      took(System.nanoTime() - start);
    }
  }

  @Override
  public Registration onCommit(Consumer<Snapshot> listener) {
    return database.onCommit(listener);
  }

  @Override
  public void close() {
    database.close();
  }
}
