package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BooleanSupplier;

/**
 * The {@code blockdev-mirror} job of a disk as QEMU's monitor knows it, with the nodes that it
 * writes to.
 *
 * <pre>
 *   disk ← filter ─ job ─→ target (raw) ─→ relay (nbd)
 *                                      └─→ sewer (null-co), once it is abandoned
 * </pre>
 *
 * A job that fails, or is cancelled by force, frees what the guest's writes still use that are
 * under way (QEMU 7.2, {@code in_flight_bitmap}), and some time later the guest crashes. So it is
 * made such that it never fails: an error only pauses it ({@code stop}). And it is never cancelled
 * by force: its target is led to a node that takes everything, whereupon it ends as one that went
 * well.
 */
final class MirrorJob {
  /** Without progress: one that nobody served for a while has much to hand over at its end. */
  private static final Duration ENDED_DEADLINE = Duration.ofSeconds(10);

  private static final Duration POLL = Duration.ofMillis(5);

  private final Monitor monitor;
  private final String device;

  MirrorJob(Monitor monitor, String device) {
    this.monitor = monitor;
    this.device = device;
  }

  // QEMU allows 31 characters.

  String id() {
    return NbdExports.PREFIX + "mirror-" + device;
  }

  /** The node whose connection can be broken. */
  String relay() {
    return NbdExports.PREFIX + "relay-" + device;
  }

  private String target() {
    return NbdExports.PREFIX + "target-" + device;
  }

  private String sewer() {
    return NbdExports.PREFIX + "sewer-" + device;
  }

  /** The node that QEMU puts between the guest's device and the disk. */
  static String filterOf(String device) {
    return NbdExports.PREFIX + "filter-" + device;
  }

  /** Connects to where the writes shall go. */
  void addTarget(Path socket, String export) throws HypervisorException, InterruptedException {
    Map<String, Object> relay = new LinkedHashMap<>();
    relay.put("driver", "nbd");
    relay.put("node-name", relay());
    relay.put("server", Map.of("type", "unix", "path", socket.toString()));
    relay.put("export", export);
    // A connection that broke stays broken: the guest must not wait for another one.
    relay.put("reconnect-delay", 0);
    monitor.execute("blockdev-add", relay);
    monitor.execute("blockdev-add", targetOver(relay()));
  }

  private Map<String, Object> targetOver(String node) {
    return Map.of("driver", "raw", "node-name", target(), "file", node);
  }

  /** Returns when it is ready. */
  void start(Duration deadline) throws HypervisorException, InterruptedException {
    Map<String, Object> job = new LinkedHashMap<>();
    job.put("job-id", id());
    job.put("device", GuestLauncher.nodeName(device));
    job.put("target", target());
    job.put("filter-node-name", filterOf(device));
    job.put("sync", "none");
    job.put("copy-mode", "write-blocking");
    job.put("on-source-error", "stop");
    job.put("on-target-error", "stop");
    job.put("auto-finalize", true);
    job.put("auto-dismiss", false);
    monitor.execute("blockdev-mirror", job);
    long end = System.nanoTime() + deadline.toNanos();
    while (true) {
      String status = find().map(MirrorJob::status).orElse("gone");
      if (status.equals("ready")) {
        return;
      }
      if (status.equals("concluded") || status.equals("gone") || System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.REFUSED, "the mirror of " + device + " did not become ready: " + status);
      }
      Thread.sleep(POLL);
    }
  }

  /** As {@code query-jobs} shows it. */
  Optional<JsonNode> find() throws HypervisorException, InterruptedException {
    for (JsonNode candidate : monitor.execute("query-jobs")) {
      if (candidate.path("id").asText().equals(id())) {
        return Optional.of(candidate);
      }
    }
    return Optional.empty();
  }

  static String status(JsonNode job) {
    return job.path("status").asText();
  }

  /** Whether something holds it: an error, or for a moment whoever drains the disk. */
  static boolean rests(String status) {
    return status.equals("standby") || status.equals("paused");
  }

  /**
   * Ends it, with both disks the same but for what failed.
   *
   * @param failed looked at meanwhile: once true it would not end by itself
   * @return its error, empty for none
   */
  String end(BooleanSupplier failed) throws HypervisorException, InterruptedException {
    askToEnd();
    return awaitEnd(() -> {
      if (failed.getAsBoolean()) {
        throw new HypervisorException(Kind.REFUSED, "the target of " + device + " failed");
      }
    });
  }

  /**
   * Ends it whatever became of its target, and removes all nodes; nothing happens where there is
   * none. The guest does not notice, provided that no connection is stuck.
   */
  void abandon() throws HypervisorException, InterruptedException {
    Optional<JsonNode> job = find();
    if (job.isPresent()) {
      if (!status(job.get()).equals("concluded")) {
        leadAway();
      }
      awaitEnd(this::urge);
    }
    removeTarget();
  }

  private void leadAway() throws HypervisorException, InterruptedException {
    if (!nodes().contains(sewer())) {
      Map<String, Object> sewer = new LinkedHashMap<>();
      sewer.put("driver", "null-co");
      sewer.put("node-name", sewer());
      sewer.put("size", BitmapSource.size(monitor, GuestLauncher.nodeName(device)));
      monitor.execute("blockdev-add", sewer);
    }
    monitor.execute("blockdev-reopen", Map.of("options", List.of(targetOver(sewer()))));
  }

  /** What failed before is tried again, and goes well now. */
  private void urge() throws HypervisorException, InterruptedException {
    String status = find().map(MirrorJob::status).orElse("gone");
    if (rests(status)) {
      tell("block-job-resume", Map.of("device", id()));
    } else if (status.equals("ready")) {
      askToEnd();
    }
  }

  private void askToEnd() throws HypervisorException, InterruptedException {
    tell("block-job-cancel", Map.of("device", id(), "force", false));
  }

  /** It may have got further by itself meanwhile; how far, its status says. */
  private void tell(String command, Map<String, Object> arguments)
      throws HypervisorException, InterruptedException {
    try {
      monitor.execute(command, arguments);
    } catch (HypervisorException e) {
      if (e.kind() != Kind.REFUSED) {
        throw e;
      }
    }
  }

  /** What is done at each look at a job that has not ended. */
  private interface Urging {
    void run() throws HypervisorException, InterruptedException;
  }

  /** Waits until the job has ended, and removes it; its error, empty for none. */
  private String awaitEnd(Urging urging) throws HypervisorException, InterruptedException {
    long end = System.nanoTime() + ENDED_DEADLINE.toNanos();
    long progress = -1;
    while (true) {
      Optional<JsonNode> job = find();
      if (job.isEmpty()) {
        return "it is gone";
      }
      if (job.get().path("current-progress").asLong() > progress) {
        progress = job.get().path("current-progress").asLong();
        end = System.nanoTime() + ENDED_DEADLINE.toNanos();
      }
      if (status(job.get()).equals("concluded")) {
        monitor.execute("job-dismiss", Map.of("id", id()));
        return job.get().path("error").asText();
      }
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the mirror of " + device + " did not end: " + job.get());
      }
      urging.run();
      Thread.sleep(POLL);
    }
  }

  void removeTarget() throws HypervisorException, InterruptedException {
    Set<String> present = nodes();
    for (String node : List.of(target(), relay(), sewer())) {
      if (present.contains(node)) {
        monitor.execute("blockdev-del", Map.of("node-name", node));
      }
    }
  }

  private Set<String> nodes() throws HypervisorException, InterruptedException {
    Set<String> names = new HashSet<>();
    for (JsonNode node : monitor.execute("query-named-block-nodes", Map.of("flat", true))) {
      names.add(node.path("node-name").asText());
    }
    return names;
  }
}
