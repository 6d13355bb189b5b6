package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.copy.SourceDisk;
import io.xenferry.nbd.NbdExport;
import io.xenferry.nbd.NbdExportServer;
import io.xenferry.qemu.access.GuestFiles;
import io.xenferry.qemu.qmp.QmpEvent;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
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
 * hears of it. A target that fails ends the mirror and the guest does not notice; one that is stuck
 * would hold the guest up, so the relay is asked for a sign of life all the time and the {@link
 * Watchdog} cuts it off without one.
 */
final class BlockMirror implements SourceDisk.Mirror {
  private static final Logger log = LoggerFactory.getLogger(BlockMirror.class);

  /** The relay answers each write in less than a second, or cuts itself off. */
  private static final Duration STALLED = Duration.ofSeconds(10);

  private static final Duration READY_DEADLINE = Duration.ofSeconds(10);
  private static final Duration LOOK = Duration.ofMillis(100);

  /** Looks in a row at which a job that is well may be found paused. */
  private static final int RESTS_ALLOWED = 10;

  /** Signs of life per limit. */
  private static final int BEATS = 8;

  private static final String EXPORT = "disk";

  private final Watchdog watchdog;
  private final MirrorJob job;
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
      MirrorJob job,
      String device,
      BlockBackend sink,
      Duration patience,
      NbdExportServer relay) {
    this.watchdog = watchdog;
    this.job = job;
    this.device = device;
    this.sink = sink;
    this.patience = patience;
    this.relay = relay;
    this.listening = monitor.listen(this::event);
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
    MirrorJob job = new MirrorJob(monitor, device);
    job.abandon();
    NbdExportServer relay;
    try {
      relay = NbdExportServer.listen(UnixDomainSocketAddress.of(socket));
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot listen at " + socket, e);
    }
    // The points that matter flush by themselves, and to a target that has died QEMU could not.
    relay.add(EXPORT, NbdExport.of(sink).withoutFlush());
    BlockMirror mirror = new BlockMirror(monitor, watchdog, job, device, sink, patience, relay);
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
    job.addTarget(socket, EXPORT);
    watchdog.watch(job.relay(), patience);
    Thread.ofVirtual().name("beat " + device).start(this::beat);
    job.start(READY_DEADLINE);
    Thread.ofVirtual().name("mirror " + device).start(this::watch);
  }

  private void event(QmpEvent event) {
    if (!event.payload().path("device").asText().equals(job.id())) {
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
                      if (failure == null && !ended.isDone() && !watchdog.alive(job.relay())) {
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
    int rests = 0;
    try {
      while (!ended.isDone() && !ending.get()) {
        Thread.sleep(LOOK);
        Optional<JsonNode> found = job.find();
        if (ending.get()) {
          return;
        }
        String status = found.map(MirrorJob::status).orElse("gone");
        // Whoever drains the disk pauses the job for a moment; of an error there is an event.
        rests = MirrorJob.rests(status) ? rests + 1 : 0;
        if (rests > RESTS_ALLOWED || rests == 0 && !status.equals("ready")) {
          fail(found.map(look -> look.path("error").asText("ended")).orElse(status));
          return;
        }
        long now = System.nanoTime();
        long at = found.orElseThrow().path("current-progress").asLong();
        if (at != offset || at == found.orElseThrow().path("total-progress").asLong()) {
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
    String failure = job.end(() -> error.get() != null);
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
      job.removeTarget();
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
      job.abandon();
    }
  }

  /** Waits for nothing: what the sink still has it answers, or it has been told that we end. */
  private void release() {
    var unused = relay.shut();
    watchdog.forget(job.relay());
    Closing.quietly(listening);
  }
}
