package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.qemu.qmp.QmpClient;
import io.xenferry.qemu.qmp.QmpEvent;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The way to one guest's monitor, kept open as long as its process lives: a broken connection is
 * made anew by the next command. Thread-safe.
 */
final class Monitor implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Monitor.class);

  /** Every command of ours is answered in milliseconds unless the guest's disk hangs. */
  static final Duration DEADLINE = Duration.ofSeconds(10);

  private static final Duration CONNECT_DEADLINE = Duration.ofSeconds(5);

  /**
   * On a busy machine a JVM takes seconds before it listens, and QEMU, which listens at once,
   * before it has built its machine and answers.
   */
  private static final Duration START_DEADLINE = Duration.ofSeconds(30);

  private final GuestProcess process;
  private final GuestDirectory directory;
  private final List<Consumer<QmpEvent>> listeners = new CopyOnWriteArrayList<>();
  private final Runnable onLost;
  private final ReentrantLock connecting = new ReentrantLock();
  private volatile @Nullable QmpClient client;
  private volatile boolean closed;

  /**
   * @param onLost called when a connection has ended, on a thread that may block
   */
  Monitor(GuestProcess process, GuestDirectory directory, Runnable onLost) {
    this.process = process;
    this.directory = directory;
    this.onLost = onLost;
  }

  /** Events from now on, one after another on a thread that may call {@link #execute}. */
  AutoCloseable listen(Consumer<QmpEvent> listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  JsonNode execute(String command) throws HypervisorException, InterruptedException {
    return execute(command, Map.of());
  }

  JsonNode execute(String command, Map<String, ?> arguments)
      throws HypervisorException, InterruptedException {
    return execute(command, arguments, DEADLINE);
  }

  JsonNode execute(String command, Map<String, ?> arguments, Duration deadline)
      throws HypervisorException, InterruptedException {
    try {
      return connection().execute(command, arguments, deadline);
    } catch (HypervisorException e) {
      if (e.kind() != Kind.REFUSED && !process.alive()) {
        throw new HypervisorException(Kind.GONE, "the guest's process is gone", e);
      }
      throw e;
    }
  }

  private QmpClient connection() throws HypervisorException, InterruptedException {
    QmpClient current = client;
    if (current != null && current.isOpen()) {
      return current;
    }
    // Held across the greeting on purpose: a monitor greets one client, the others wait for it.
    if (!connecting.tryLock(START_DEADLINE.toNanos(), TimeUnit.NANOSECONDS)) {
      throw new HypervisorException(Kind.TIMEOUT, "the monitor does not greet");
    }
    try {
      current = client;
      if (current != null && current.isOpen()) {
        return current;
      }
      if (closed) {
        throw new HypervisorException(Kind.REFUSED, "this driver has let go of the guest");
      }
      if (!process.alive()) {
        throw new HypervisorException(Kind.GONE, "the guest's process is gone");
      }
      QmpClient fresh = connectWhenListening();
      client = fresh;
      try {
        fresh.execute(
            "migrate-set-capabilities",
            Map.of("capabilities", List.of(Map.of("capability", "events", "state", true))),
            CONNECT_DEADLINE);
      } catch (HypervisorException e) {
        // Refused while a migration runs; then it was set before.
        log.debug("{}: migration events", directory.path(), e);
      }
      return fresh;
    } finally {
      connecting.unlock();
    }
  }

  /** A process just started makes its socket a little later. */
  private QmpClient connectWhenListening() throws HypervisorException, InterruptedException {
    long end = System.nanoTime() + START_DEADLINE.toNanos();
    while (true) {
      try {
        return QmpClient.connect(directory.qmpSocket(), greeting(), this::event, onLost);
      } catch (HypervisorException e) {
        if (e.kind() != Kind.GONE || !process.alive() || System.nanoTime() - end > 0) {
          throw e;
        }
        Thread.sleep(10);
      }
    }
  }

  private Duration greeting() {
    Duration left = START_DEADLINE.minus(process.age());
    return left.compareTo(CONNECT_DEADLINE) > 0 ? left : CONNECT_DEADLINE;
  }

  private void event(QmpEvent event) {
    log.debug("{}: {} {}", directory.path(), event.name(), event.payload());
    for (Consumer<QmpEvent> listener : listeners) {
      listener.accept(event);
    }
  }

  @Override
  public void close() {
    closed = true;
    QmpClient current = client;
    if (current != null) {
      current.close();
    }
  }
}
