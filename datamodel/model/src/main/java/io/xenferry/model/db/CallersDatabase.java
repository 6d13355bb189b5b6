package io.xenferry.model.db;

import io.xenferry.model.ErrorCode;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * See {@link MemoryDatabase#onCallersThread}. What a listener fails with is the writer's, so that
 * no simulation overlooks it.
 */
final class CallersDatabase implements ObjectDatabase {
  private final Supplier<UUID> uuids;
  private final List<Consumer<Snapshot>> listeners = new ArrayList<>();
  private volatile StateSnapshot visible = new StateSnapshot(State.EMPTY);
  private boolean writing;
  private boolean closed;

  CallersDatabase(Supplier<UUID> uuids) {
    this.uuids = uuids;
  }

  @Override
  public Snapshot snapshot() {
    return visible;
  }

  @Override
  public <R> R write(Work<R> work) throws XenApiException {
    if (writing) {
      throw new IllegalStateException("A transaction or a listener cannot wait for another one");
    }
    if (closed) {
      throw new XenApiException(ErrorCode.INTERNAL_ERROR, "The database is closed");
    }
    writing = true;
    try {
      StateTransaction tx = new StateTransaction(visible.state(), uuids);
      R result;
      try {
        result = work.run(tx);
      } finally {
        tx.end();
      }
      if (!tx.writes().isEmpty()) {
        visible = new StateSnapshot(tx.state());
        List.copyOf(listeners).forEach(listener -> listener.accept(visible));
      }
      return result;
    } finally {
      writing = false;
    }
  }

  @Override
  public Registration onCommit(Consumer<Snapshot> listener) {
    Consumer<Snapshot> own = listener::accept; // one consumer may be registered twice
    listeners.add(own);
    return () -> listeners.remove(own);
  }

  @Override
  public void close() {
    closed = true;
  }
}
