package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.copy.SourceDisk;
import io.xenferry.nbd.NbdExportServer;
import io.xenferry.qemu.access.GuestFiles;
import io.xenferry.qemu.qmp.QmpEvent;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A disk's {@code blockdev-mirror} to an NBD export of our own: {@code sync=none} and {@code
 * copy-mode=write-blocking}, so that each write goes to the disk, then to us, and then the guest
 * hears of it. A target that fails ends the job with an error and the guest does not notice; one
 * that is stuck would hold the guest up, so the relay is asked for a sign of life all the time and
 * the {@link Watchdog} cuts it off without one.
 */
final class BlockMirror implements SourceDisk.Mirror {
  private static final Logger log = LoggerFactory.getLogger(BlockMirror.class);

  /** The relay answers each write in less than a second, or cuts itself off. */
  private static final Duration STALLED = Duration.ofSeconds(10);

  private static final Duration READY_DEADLINE = Duration.ofSeconds(10);
  private static final Duration LOOK = Duration.ofMillis(100);
  private static final Duration CONCLUDED_DEADLINE = Duration.ofSeconds(10);

  /** Signs of life per limit. */
  private static final int BEATS = 8;

  private static final String EXPORT = "disk";

  private final Monitor monitor;
  private final Watchdog watchdog;
  private final String device;
  private final BlockBackend sink;
  private final Duration patience;
  private final NbdExportServer relay;
  private final AutoCloseable listening;
  private final CompletableFuture<Void> ended = new CompletableFuture<>();
  private final AtomicReference<@Nullable String> error = new AtomicReference<>();
  private final AtomicBoolean ending = new AtomicBoolean();

  private BlockMirror(
      Monitor monitor,
      Watchdog watchdog,
      String device,
      BlockBackend sink,
      Duration patience,
      NbdExportServer relay) {
    this.monitor = monitor;
    this.watchdog = watchdog;
    this.device = device;
    this.sink = sink;
    this.patience = patience;
    this.relay = relay;
    this.listening = monitor.listen(this::event);
  }

  // QEMU allows 31 characters.

  private static String jobOf(String device) {
    return NbdExports.PREFIX + "mirror-" + device;
  }

  private static String targetOf(String device) {
    return NbdExports.PREFIX + "target-" + device;
  }

  /** The node that QEMU puts between the guest's device and the disk. */
  static String filterOf(String device) {
    return NbdExports.PREFIX + "filter-" + device;
  }

  /**
   * Starts one, and returns when it is ready.
   *
   * @param files what the guest may have
   * @param socket where to serve the relay; replaced if it is there
   * @param sink takes the writes; stays the caller's
   */
  static BlockMirror start(
      Monitor monitor,
      Watchdog watchdog,
      GuestFiles files,
      Path socket,
      String device,
      BlockBackend sink,
      Duration patience)
      throws HypervisorException, InterruptedException {
    clear(monitor, device);
    NbdExportServer relay;
    try {
      relay = NbdExportServer.listen(UnixDomainSocketAddress.of(socket));
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot listen at " + socket, e);
    }
    relay.add(EXPORT, sink);
    BlockMirror mirror = new BlockMirror(monitor, watchdog, device, sink, patience, relay);
    try {
      files.allowSocket(socket);
      mirror.begin(socket);
      return mirror;
    } catch (HypervisorException | InterruptedException e) {
      Closing.quietly(mirror::giveUp);
      throw e;
    }
  }

  private void begin(Path socket) throws HypervisorException, InterruptedException {
    Map<String, Object> target = new LinkedHashMap<>();
    target.put("driver", "nbd");
    target.put("node-name", targetOf(device));
    target.put("server", Map.of("type", "unix", "path", socket.toString()));
    target.put("export", EXPORT);
    // A connection that broke stays broken: the guest must not wait for another one.
    target.put("reconnect-delay", 0);
    monitor.execute("blockdev-add", target);
    watchdog.watch(targetOf(device), patience);
    Thread.ofVirtual().name("beat " + device).start(this::beat);
    Map<String, Object> job = new LinkedHashMap<>();
    job.put("job-id", jobOf(device));
    job.put("device", GuestLauncher.nodeName(device));
    job.put("target", targetOf(device));
    job.put("filter-node-name", filterOf(device));
    job.put("sync", "none");
    job.put("copy-mode", "write-blocking");
    job.put("on-source-error", "report");
    job.put("on-target-error", "report");
    job.put("auto-finalize", true);
    job.put("auto-dismiss", false);
    monitor.execute("blockdev-mirror", job);
    long end = System.nanoTime() + READY_DEADLINE.toNanos();
    while (true) {
      String status = job().map(found -> found.path("status").asText()).orElse("gone");
      if (status.equals("ready")) {
        break;
      }
      if (!status.equals("created") && !status.equals("running") || System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.REFUSED, "the mirror of " + device + " did not become ready: " + status);
      }
      Thread.sleep(5);
    }
    Thread.ofVirtual().name("mirror " + device).start(this::watch);
  }

  /** Ends and removes what an earlier server has left of a mirror of the device. */
  static void clear(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    if (job(monitor, device).isPresent()) {
      cancel(monitor, device, true);
      conclude(monitor, device);
    }
    removeTarget(monitor, device);
  }

  private static void removeTarget(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    for (JsonNode node : monitor.execute("query-named-block-nodes", Map.of("flat", true))) {
      if (node.path("node-name").asText().equals(targetOf(device))) {
        monitor.execute("blockdev-del", Map.of("node-name", targetOf(device)));
      }
    }
  }

  private Optional<JsonNode> job() throws HypervisorException, InterruptedException {
    return job(monitor, device);
  }

  private static Optional<JsonNode> job(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    for (JsonNode candidate : monitor.execute("query-jobs")) {
      if (candidate.path("id").asText().equals(jobOf(device))) {
        return Optional.of(candidate);
      }
    }
    return Optional.empty();
  }

  private static void cancel(Monitor monitor, String device, boolean force)
      throws HypervisorException, InterruptedException {
    try {
      monitor.execute("block-job-cancel", Map.of("device", jobOf(device), "force", force));
    } catch (HypervisorException e) {
      if (e.kind() != Kind.REFUSED) {
        throw e;
      }
      // It has ended by itself meanwhile; how, its status says.
      log.debug("{}: cancelling its mirror", device, e);
    }
  }

  /** Waits until the job has ended, and removes it; its error, empty for none. */
  private static String conclude(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    long end = System.nanoTime() + CONCLUDED_DEADLINE.toNanos();
    while (true) {
      Optional<JsonNode> job = job(monitor, device);
      if (job.isEmpty()) {
        return "it is gone";
      }
      if (job.get().path("status").asText().equals("concluded")) {
        monitor.execute("job-dismiss", Map.of("id", jobOf(device)));
        return job.get().path("error").asText();
      }
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the mirror of " + device + " did not end: " + job.get());
      }
      Thread.sleep(5);
    }
  }

  private void event(QmpEvent event) {
    if (!event.payload().path("device").asText().equals(jobOf(device))) {
      return;
    }
    switch (event.name()) {
      case "BLOCK_JOB_ERROR" -> fail("a " + event.payload().path("operation").asText() + " failed");
      case "BLOCK_JOB_COMPLETED" -> {
        if (event.payload().has("error")) {
          fail(event.payload().path("error").asText());
        }
      }
      default -> {}
    }
  }

  /** Tells the watchdog that we live, as long as the sink does. */
  private void beat() {
    long pause = Math.max(1, patience.toMillis() / BEATS);
    try {
      while (!ended.isDone()) {
        sink.flush()
            .whenComplete((done, failure) ->
                Thread.ofVirtual()
                    .start(() -> {
                      if (failure == null && !ended.isDone() && !watchdog.alive(targetOf(device))) {
                        fail("nobody watches it");
                      }
                    }));
        Thread.sleep(pause);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** A job that stalls tells nobody, and an event may be lost with its connection. */
  private void watch() {
    long offset = -1;
    long moved = System.nanoTime();
    try {
      while (!ended.isDone() && !ending.get()) {
        Thread.sleep(LOOK);
        Optional<JsonNode> job = job();
        if (ending.get()) {
          return;
        }
        if (job.isEmpty() || !job.get().path("status").asText().equals("ready")) {
          fail(job.map(found -> found.path("error").asText("ended")).orElse("gone"));
          return;
        }
        long now = System.nanoTime();
        long at = job.get().path("current-progress").asLong();
        if (at != offset || at == job.get().path("total-progress").asLong()) {
          offset = at;
          moved = now;
        } else if (now - moved > STALLED.toNanos()) {
          fail("it stalled");
          return;
        }
      }
    } catch (HypervisorException e) {
      fail(String.valueOf(e.getMessage()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public CompletableFuture<Void> ended() {
    return ended;
  }

  @Override
  public CompletableFuture<Void> end() {
    CompletableFuture<Void> result = new CompletableFuture<>();
    if (!ending.compareAndSet(false, true)) {
      result.completeExceptionally(
          new HypervisorException(
              Kind.REFUSED, "the mirror of " + device + " has ended: " + error.get()));
      return result;
    }
    Thread.ofVirtual()
        .name("end mirror " + device)
        .start(() -> {
          try {
            endConsistently();
            // The guest stands still and somebody waits: the rest is not worth waiting for.
            result.complete(null);
            ended.complete(null);
            removeRemains();
          } catch (HypervisorException | InterruptedException | RuntimeException e) {
            error.compareAndSet(null, String.valueOf(e.getMessage()));
            Closing.quietly(this::giveUp);
            ended.completeExceptionally(e);
            result.completeExceptionally(e);
          }
        });
    return result;
  }

  private void endConsistently() throws HypervisorException, InterruptedException {
    cancel(monitor, device, false);
    String failure = conclude(monitor, device);
    String before = error.get();
    if (!failure.isEmpty() || before != null) {
      throw new HypervisorException(
          Kind.REFUSED,
          "the mirror of " + device + " failed: " + (before == null ? failure : before));
    }
  }

  private void removeRemains() throws InterruptedException {
    try {
      release();
      monitor.execute("blockdev-del", Map.of("node-name", targetOf(device)));
    } catch (HypervisorException e) {
      // Of no harm: the next mirror of the disk clears it away, or the end of the guest.
      log.info("{}: the target of its mirror stays", device, e);
    }
  }

  @Override
  public void abort(String reason) {
    fail(reason);
  }

  private void fail(String reason) {
    error.compareAndSet(null, reason);
    if (ending.compareAndSet(false, true)) {
      log.info("the mirror of {} ends: {}", device, reason);
      Thread.ofVirtual()
          .name("end mirror " + device)
          .start(() -> {
            Closing.quietly(this::giveUp);
            ended.completeExceptionally(
                new HypervisorException(
                    Kind.REFUSED, "the mirror of " + device + " ended: " + reason));
          });
    }
  }

  /** Breaks the connection first: from then on no write waits for us. */
  private void giveUp() throws HypervisorException, InterruptedException {
    error.compareAndSet(null, "given up");
    ending.set(true);
    try {
      release();
    } finally {
      clear(monitor, device);
    }
  }

  /** Waits for nothing: what the sink still has it answers, or it has been told that we end. */
  private void release() {
    var unused = relay.shut();
    watchdog.forget(targetOf(device));
    Closing.quietly(listening);
  }
}
