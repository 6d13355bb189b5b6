package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdUri;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.ImageMerging;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code block-commit} of one image into the one below it. It never finishes by itself ({@code
 * auto-finalize=false}): a job that is {@code pending} has written everything, and when it is about
 * the image that the guest writes, the guest's requests wait. So whoever keeps the books can write
 * down that the upper image goes before anything is written to the lower one alone. When it dies in
 * between, the guest's {@link Watchdog} ends what the requests wait for.
 */
final class ImageMerges implements ImageMerging {
  private static final Logger log = LoggerFactory.getLogger(ImageMerges.class);

  private static final String JOBS = NbdExports.PREFIX + "merge-";

  private static final Duration CONCLUDED_DEADLINE = Duration.ofSeconds(10);

  private final Monitor monitor;
  private final NbdExports exports;
  private final DiskImages images;
  private final HotPlug hardware;
  private final Watchdog watchdog;

  /** Of each device, the job that is watched. */
  private final Map<String, String> watched = new ConcurrentHashMap<>();

  ImageMerges(
      Monitor monitor, NbdExports exports, DiskImages images, HotPlug hardware, Watchdog watchdog) {
    this.watchdog = watchdog;
    this.monitor = monitor;
    this.exports = exports;
    this.images = images;
    this.hardware = hardware;
  }

  /** What the names of a device's jobs begin with: none is that of another one's. */
  private static String jobs(String device) {
    return JOBS + device + ".";
  }

  private String job(String device) throws HypervisorException, InterruptedException {
    return find(device)
        .orElseThrow(
            () -> new HypervisorException(Kind.REFUSED, device + ": no images are being merged"))
        .path("id")
        .asText();
  }

  @Override
  public void begin(String device, Path upper, Path lower, long bytesPerSecond)
      throws HypervisorException, InterruptedException {
    hardware.access().lend(device, upper, lower);
    // It writes zeroes as data; so they stay holes.
    images.reopen(lower, "discard=unmap,detect-zeroes=unmap");
    Map<String, Object> job = new LinkedHashMap<>();
    job.put("job-id", jobs(device) + UUID.randomUUID());
    job.put("device", GuestLauncher.nodeName(device));
    job.put("top-node", images.node(upper));
    job.put("base-node", images.node(lower));
    if (!images.of(device).equals(upper)) {
      // QEMU writes it into the header of the image above; alone it would be a whole path.
      job.put("backing-file", String.valueOf(lower.getFileName()));
    }
    job.put("speed", bytesPerSecond);
    job.put("on-error", "report");
    job.put("filter-node-name", NbdExports.PREFIX + "join-" + device);
    job.put("auto-finalize", false);
    job.put("auto-dismiss", false);
    monitor.execute("block-commit", job);
  }

  /** Whether a merge is written, or waits for being ended; of any disk. */
  static boolean isAnyUnderWay(Monitor monitor) throws HypervisorException, InterruptedException {
    for (JsonNode candidate : monitor.execute("query-jobs")) {
      if (candidate.path("id").asText().startsWith(JOBS)) {
        return true;
      }
    }
    return false;
  }

  private Optional<JsonNode> find(String device) throws HypervisorException, InterruptedException {
    return find(monitor, device);
  }

  private static Optional<JsonNode> find(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    for (JsonNode candidate : monitor.execute("query-jobs")) {
      if (candidate.path("id").asText().startsWith(jobs(device))) {
        return Optional.of(candidate);
      }
    }
    return Optional.empty();
  }

  @Override
  public Progress progress(String device) throws HypervisorException, InterruptedException {
    Optional<JsonNode> job = find(device);
    if (job.isEmpty()) {
      return new Progress(Phase.NONE, 0, 0, "");
    }
    Phase phase =
        switch (job.get().path("status").asText()) {
          case "ready", "standby" -> Phase.CONVERGED;
          case "pending" -> Phase.HELD;
          // One that succeeds is dismissed at once by whoever finishes it.
          case "concluded", "aborting", "null" -> Phase.FAILED;
          default -> Phase.COPYING;
        };
    return new Progress(
        phase,
        job.get().path("current-progress").asLong(),
        job.get().path("total-progress").asLong(),
        job.get().path("error").asText());
  }

  @Override
  public void limit(String device, long bytesPerSecond)
      throws HypervisorException, InterruptedException {
    monitor.execute("block-job-set-speed", Map.of("device", job(device), "speed", bytesPerSecond));
  }

  @Override
  public void hold(String device, Optional<Decision> decision)
      throws HypervisorException, InterruptedException {
    String id = job(device);
    if (decision.isPresent()) {
      watched.put(device, id);
      watchdog.hold(id, decision.get());
    }
    monitor.execute("job-complete", Map.of("id", id));
  }

  /**
   * QEMU flushes the lower image only after it has told the one above of it, and what it has of its
   * tables is in its own memory until then; an export passes a flush on.
   */
  @Override
  public void flush(String device, Path lower) throws HypervisorException, InterruptedException {
    String id = NbdExports.PREFIX + "flush-" + device;
    String node = images.node(lower);
    exports.removeAll(node, id);
    exports.add(id, node, "");
    try (NbdClient content =
        NbdClient.connect(NbdUri.unix(exports.socket(), id), NbdClient.Options.DEFAULT)) {
      content.flush().get(Monitor.DEADLINE.toNanos(), TimeUnit.NANOSECONDS);
    } catch (IOException | ExecutionException e) {
      throw new HypervisorException(Kind.REFUSED, lower + " cannot be flushed: " + e, e);
    } catch (TimeoutException e) {
      throw new HypervisorException(Kind.TIMEOUT, lower + " is not flushed", e);
    } finally {
      exports.remove(id);
    }
  }

  @Override
  public void finish(String device) throws HypervisorException, InterruptedException {
    monitor.execute("job-finalize", Map.of("id", job(device)));
    String error = conclude(monitor, device);
    unwatch(device);
    if (!error.isEmpty()) {
      throw new HypervisorException(
          Kind.REFUSED, "the images of " + device + " are not merged: " + error);
    }
    // What was opened because others rested on it drops discards.
    images.reopen(images.of(device), "discard=unmap,detect-zeroes=off");
    hardware.noteImagesOrWarn();
  }

  @Override
  public void cancel(String device) throws HypervisorException, InterruptedException {
    clear(monitor, device);
    unwatch(device);
    hardware.noteImagesOrWarn();
  }

  private void unwatch(String device) {
    String job = watched.remove(device);
    if (job != null) {
      watchdog.forget(job);
    }
  }

  /** Ends the merge of a device's images if there is one, without effect. */
  static void clear(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    Optional<JsonNode> job = find(monitor, device);
    if (job.isEmpty()) {
      return;
    }
    if (!job.get().path("status").asText().equals("concluded")) {
      try {
        monitor.execute(
            "block-job-cancel", Map.of("device", job.get().path("id").asText(), "force", true));
      } catch (HypervisorException e) {
        if (e.kind() != Kind.REFUSED) {
          throw e;
        }
        // It has just ended by itself: how, is seen next.
        log.debug("{}: cancelling a merge", device, e);
      }
    }
    conclude(monitor, device);
  }

  private static String conclude(Monitor monitor, String device)
      throws HypervisorException, InterruptedException {
    long end = System.nanoTime() + CONCLUDED_DEADLINE.toNanos();
    while (true) {
      Optional<JsonNode> job = find(monitor, device);
      if (job.isEmpty()) {
        return "";
      }
      if (job.get().path("status").asText().equals("concluded")) {
        monitor.execute("job-dismiss", Map.of("id", job.get().path("id").asText()));
        return job.get().path("error").asText();
      }
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the merge of images of " + device + " did not end: " + job.get());
      }
      Thread.sleep(5);
    }
  }

  @Override
  public boolean has(String device, Path image) throws HypervisorException, InterruptedException {
    return images.has(image);
  }
}
