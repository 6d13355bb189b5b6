package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.Guest.MemoryProgress;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The outgoing side of the hypervisor's own migration.
 *
 * <p>The downtime limit is 1 ms until the server says that it is ready to switch. A server that
 * dies before leaves a guest that nobody pauses: its stream breaks, and it runs on. Only a guest of
 * which nothing at all is left to send is paused earlier; QEMU has no setting against that. So the
 * bandwidth is taken away once little is left, and given back for the switch: all of it, since the
 * guest stands still for the rest, and by the rate that it sees QEMU tells what fits the downtime.
 */
final class MemorySender {
  /** The most that QEMU takes, in milliseconds. */
  private static final long DOWNTIME_LIMIT = 2_000_000;

  /** QEMU has no word for "as fast as it goes"; this is beyond any memory bus. */
  private static final long UNLIMITED = 1L << 40;

  /**
   * Bytes a second while held: a page or two per tenth of a second, in which QEMU counts. Any guest
   * that runs writes more.
   */
  private static final long HELD = 64 << 10;

  private static final Duration POLL = Duration.ofMillis(20);

  /** The guest stands still; a look costs a millisecond at most. */
  private static final Duration SHORT_POLL = Duration.ofMillis(2);

  /** migrate_cancel ends within some ms, seen with QEMU 7.2, even when the peer is stuck. */
  private static final Duration CANCEL_DEADLINE = Duration.ofSeconds(10);

  private static final Duration WAITING_DEADLINE = Duration.ofSeconds(10);

  private static final Set<String> UNDER_WAY =
      Set.of("setup", "active", "pre-switchover", "device", "cancelling", "wait-unplug");

  private final Monitor monitor;

  MemorySender(Monitor monitor) {
    this.monitor = monitor;
  }

  void start(Path unixSocket, long bytesPerSecond)
      throws HypervisorException, InterruptedException {
    monitor.execute(
        "migrate-set-capabilities",
        Map.of(
            "capabilities",
            List.of(
                Map.of("capability", "events", "state", true),
                Map.of("capability", "pause-before-switchover", "state", true),
                Map.of("capability", "auto-converge", "state", true))));
    monitor.execute(
        "migrate-set-parameters",
        Map.of("max-bandwidth", orUnlimited(bytesPerSecond), "downtime-limit", 1));
    monitor.execute("migrate", Map.of("uri", "unix:" + unixSocket));
  }

  void limit(long bytesPerSecond) throws HypervisorException, InterruptedException {
    monitor.execute("migrate-set-parameters", Map.of("max-bandwidth", orUnlimited(bytesPerSecond)));
  }

  private static long orUnlimited(long bytesPerSecond) {
    return bytesPerSecond <= 0 ? UNLIMITED : bytesPerSecond;
  }

  void hold() throws HypervisorException, InterruptedException {
    monitor.execute("migrate-set-parameters", Map.of("max-bandwidth", HELD));
  }

  void pauseForSwitch(Duration downtime) throws HypervisorException, InterruptedException {
    monitor.execute(
        "migrate-set-parameters",
        Map.of(
            "max-bandwidth",
            UNLIMITED,
            "downtime-limit",
            Math.clamp(downtime.toMillis(), 1, DOWNTIME_LIMIT)));
  }

  /** The guest is seen paused a moment before the migration says that it waits. */
  void finish() throws HypervisorException, InterruptedException {
    long end = System.nanoTime() + WAITING_DEADLINE.toNanos();
    while (status().equals("active")) {
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the migration does not wait within " + WAITING_DEADLINE);
      }
      Thread.sleep(SHORT_POLL);
    }
    monitor.execute("migrate-continue", Map.of("state", "pre-switchover"));
  }

  void cancel() throws HypervisorException, InterruptedException {
    monitor.execute("migrate_cancel");
    long end = System.nanoTime() + CANCEL_DEADLINE.toNanos();
    while (true) {
      String migration = status();
      String run = monitor.execute("query-status").path("status").asText();
      if (!UNDER_WAY.contains(migration) && !run.equals("finish-migrate")) {
        return;
      }
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the sending did not end within " + CANCEL_DEADLINE + ": " + migration);
      }
      Thread.sleep(POLL);
    }
  }

  /** query-migrate's status; {@code none} before the first migration. */
  String status() throws HypervisorException, InterruptedException {
    return monitor.execute("query-migrate").path("status").asText("none");
  }

  MemoryProgress progress() throws HypervisorException, InterruptedException {
    JsonNode ram = monitor.execute("query-migrate").path("ram");
    return new MemoryProgress(
        ram.path("transferred").asLong(),
        ram.path("remaining").asLong(),
        ram.path("dirty-pages-rate").asLong() * ram.path("page-size").asLong(4096));
  }
}
