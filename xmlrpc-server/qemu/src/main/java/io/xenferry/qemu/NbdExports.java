package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;

/** The guest's own NBD server on a Unix socket, and what it exports there. Thread-safe. */
final class NbdExports {
  /** All exports of this driver begin so; a later server removes what an earlier one left. */
  static final String PREFIX = "xenferry-";

  private static final Duration REMOVED_DEADLINE = Duration.ofSeconds(10);

  private final Monitor monitor;
  private final Path socket;
  private final ReentrantLock lock = new ReentrantLock();
  private final Listening onServing;
  private boolean serving;

  /** What is to be done about a socket. */
  @FunctionalInterface
  interface Listening {
    void run() throws HypervisorException;
  }

  /**
   * @param onServing run when the hypervisor listens at the socket, before anybody connects
   */
  NbdExports(Monitor monitor, Path socket, Listening onServing) {
    this.monitor = monitor;
    this.socket = socket;
    this.onServing = onServing;
  }

  Path socket() {
    return socket;
  }

  /**
   * Exports a node read-only under its id as the export's name.
   *
   * @param bitmap disabled, to be shown as {@code qemu:dirty-bitmap:NAME}; empty for none
   */
  void add(String id, String node, String bitmap) throws HypervisorException, InterruptedException {
    add(id, node, bitmap, false);
  }

  /**
   * The same.
   *
   * @param depth whether it is to be told which image holds what, as {@code qemu:allocation-depth}
   */
  void add(String id, String node, String bitmap, boolean depth)
      throws HypervisorException, InterruptedException {
    serve();
    Map<String, Object> export = new LinkedHashMap<>();
    export.put("type", "nbd");
    export.put("id", id);
    export.put("node-name", node);
    export.put("name", id);
    export.put("writable", false);
    if (depth) {
      export.put("allocation-depth", true);
    }
    if (!bitmap.isEmpty()) {
      export.put("bitmaps", List.of(bitmap));
    }
    monitor.execute("block-export-add", export);
  }

  /** Removes an export, and returns when it is gone; its bitmap is free then. */
  void remove(String id) throws HypervisorException, InterruptedException {
    CompletableFuture<Void> deleted = new CompletableFuture<>();
    AutoCloseable listening =
        monitor.listen(event -> {
          if (event.name().equals("BLOCK_EXPORT_DELETED")
              && event.payload().path("id").asText().equals(id)) {
            deleted.complete(null);
          }
        });
    try {
      // hard: clients that are still connected are cut off; ours has closed.
      monitor.execute("block-export-del", Map.of("id", id, "mode", "hard"));
      if (exists(id)) {
        deleted.get(REMOVED_DEADLINE.toNanos(), TimeUnit.NANOSECONDS);
      }
    } catch (TimeoutException | ExecutionException e) {
      throw new HypervisorException(
          Kind.TIMEOUT, "export " + id + " did not go within " + REMOVED_DEADLINE, e);
    } finally {
      Closing.quietly(listening);
    }
  }

  /** Removes every export of the node whose id begins so. */
  void removeAll(String node, String prefix) throws HypervisorException, InterruptedException {
    for (JsonNode export : monitor.execute("query-block-exports")) {
      String id = export.path("id").asText();
      if (export.path("node-name").asText().equals(node) && id.startsWith(prefix)) {
        remove(id);
      }
    }
  }

  /**
   * Makes the hypervisor open an incoming guest's node for writing, which adding an export does by
   * the way; whether it could it does not say. Of a node that is open it changes nothing.
   */
  void activate(String node) throws HypervisorException, InterruptedException {
    String id = PREFIX + "activate-" + node;
    add(id, node, "");
    remove(id);
  }

  private boolean exists(String id) throws HypervisorException, InterruptedException {
    for (JsonNode export : monitor.execute("query-block-exports")) {
      if (export.path("id").asText().equals(id)) {
        return true;
      }
    }
    return false;
  }

  /** Starts the server, once; exports start it by themselves. */
  void serve() throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      if (serving) {
        return;
      }
      try {
        monitor.execute(
            "nbd-server-start",
            Map.of(
                "addr",
                Map.of("type", "unix", "data", Map.of("path", socket.toString())),
                "max-connections",
                0));
      } catch (HypervisorException e) {
        // An earlier server started it, on the same socket: there is only one in a process.
        if (e.kind() != Kind.REFUSED
            || !String.valueOf(e.getMessage()).contains("already running")) {
          throw e;
        }
      }
      onServing.run();
      serving = true;
    } finally {
      lock.unlock();
    }
  }
}
