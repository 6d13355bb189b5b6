package io.xenferry.server.migration;

import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.DiskPlan;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.EngineCopyJob;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.Plan;
import io.xenferry.server.storage.WriteLimit;
import io.xenferry.spi.Guest;
import io.xenferry.spi.HypervisorException;
import io.xenferry.time.RealScheduler;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** An engine's job with what this server holds for it. */
final class RunningCopy implements CopyJob {
  private static final Logger log = LoggerFactory.getLogger(RunningCopy.class);

  private final EngineCopyJob job;
  private final List<DiskPlan> disks;
  private final List<MoveSnapshots> taken;
  private final RealScheduler scheduler;
  private final Throttle throttle;
  private final CompletableFuture<Void> closed = new CompletableFuture<>();
  private boolean closing;

  RunningCopy(
      CopyEngine engine,
      CopyOptions options,
      Plan plan,
      List<DiskPlan> disks,
      List<MoveSnapshots> taken,
      RealScheduler scheduler,
      Optional<Guest> guest) {
    this.disks = disks;
    this.taken = taken;
    this.scheduler = scheduler;
    this.throttle = new Throttle(plan, guest);
    this.job = new EngineCopyJob(engine, plan.disks(), disks, options, scheduler, throttle);
  }

  /** None of the copy's snapshots comes about after this. */
  void awaitSnapshots() throws IOException, InterruptedException {
    for (MoveSnapshots each : taken) {
      each.close();
      each.awaitEnd();
    }
  }

  CopySnapshot snapshot() {
    return job.snapshot();
  }

  @Override
  public CompletableFuture<Void> converged() {
    return job.converged();
  }

  @Override
  public CompletableFuture<Void> nearly(long bytes) {
    return job.nearly(bytes);
  }

  @Override
  public CompletableFuture<Void> prepareSwitch() {
    return job.prepareSwitch();
  }

  @Override
  public CompletableFuture<List<UUID>> drain() {
    return job.drain();
  }

  @Override
  public CompletableFuture<Void> ended() {
    return job.ended();
  }

  @Override
  public void holdSwitch(boolean held) {
    job.holdSwitch(held);
    if (held) {
      throttle.lift(); // nobody waits for it to converge
    }
  }

  @Override
  public void adjust(Plan plan) {
    job.adjust(plan);
  }

  @Override
  public void pause() {
    job.pause();
  }

  @Override
  public void resume() {
    job.resume();
  }

  @Override
  public List<DiskProgress> progress() {
    return job.progress();
  }

  @Override
  public synchronized CompletableFuture<Void> close() {
    if (!closing) {
      closing = true;
      job.close()
          .whenComplete((done, failure) -> {
            throttle.lift();
            disks.forEach(disk -> disk.log().close());
            scheduler.close();
            if (failure == null) {
              closed.complete(null);
            } else {
              closed.completeExceptionally(failure);
            }
          });
    }
    return closed;
  }

  /** Slows a guest that writes faster than its disks are copied. */
  private static final class Throttle implements CopyListener {
    private final Plan plan;
    private final Optional<WriteLimit> writes;

    /** Bytes per second; 0 for none. The disk that needs the lowest decides. */
    private long limit;

    Throttle(Plan plan, Optional<Guest> guest) {
      this.plan = plan;
      this.writes = guest.map(g -> new WriteLimit(rate -> set(g, rate)));
    }

    @Override
    public void onNotConverging(
        String disk, long dirtyBytesPerSecond, long suggestedBytesPerSecond) {
      log.info(
          "{} of {} is written at {} bytes/s, faster than it is copied: slowing it to {} bytes/s",
          disk,
          plan.name(),
          dirtyBytesPerSecond,
          suggestedBytesPerSecond);
      lower(suggestedBytesPerSecond);
    }

    private synchronized void lower(long bytesPerSecond) {
      if (limit == 0 || bytesPerSecond < limit) {
        limit = bytesPerSecond;
        tell(bytesPerSecond);
      }
    }

    @Override
    public void onMirrorDied(String disk, String reason) {
      log.info(
          "{} of {} is mirrored no longer, and copied in passes: {}", disk, plan.name(), reason);
    }

    synchronized void lift() {
      if (limit != 0) {
        limit = 0;
        tell(0);
      }
    }

    private static void set(Guest guest, long bytesPerSecond)
        throws HypervisorException, InterruptedException {
      try {
        guest.throttle(bytesPerSecond);
      } catch (HypervisorException e) {
        // One that has been given to the destination ends while its copy is closed.
        if (bytesPerSecond != 0 || guest.state() != Guest.State.GONE) {
          throw e;
        }
      }
    }

    private void tell(long bytesPerSecond) {
      writes.ifPresent(w ->
          w.set(bytesPerSecond)
              .exceptionally(failure -> {
                log.warn("the limit of the writes of {} could not be set", plan.name(), failure);
                return null;
              }));
    }
  }
}
