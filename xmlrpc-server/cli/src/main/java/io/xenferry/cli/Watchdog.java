package io.xenferry.cli;

import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Closes a connection when what was started does not end in time, which ends a blocked read or
 * write. The one thread that all share only closes sockets, and never waits for a peer.
 */
final class Watchdog implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Watchdog.class);
  private static final ScheduledThreadPoolExecutor TIMER =
      new ScheduledThreadPoolExecutor(
          1, Thread.ofPlatform().daemon().name("xe-deadlines").factory());

  static {
    TIMER.setRemoveOnCancelPolicy(true);
  }

  private final AtomicBoolean late = new AtomicBoolean();
  private final Duration deadline;
  private final ScheduledFuture<?> bark;

  Watchdog(Duration deadline, Closeable connection) {
    this.deadline = deadline;
    this.bark =
        TIMER.schedule(
            () -> {
              late.set(true);
              try {
                connection.close();
              } catch (IOException e) {
                LOG.debug("closing a late client", e);
              }
            },
            deadline.toMillis(),
            TimeUnit.MILLISECONDS);
  }

  interface Exchange<T> {
    T run() throws IOException;
  }

  <T> T guard(Exchange<T> exchange) throws IOException {
    try {
      T result = exchange.run();
      if (late.get()) {
        throw new InterruptedIOException("the client was silent for " + deadline);
      }
      return result;
    } catch (IOException e) {
      if (late.get() && !(e instanceof InterruptedIOException)) {
        InterruptedIOException silent =
            new InterruptedIOException("the client was silent for " + deadline);
        silent.initCause(e);
        throw silent;
      }
      throw e;
    }
  }

  @Override
  public void close() {
    bark.cancel(false);
  }
}
