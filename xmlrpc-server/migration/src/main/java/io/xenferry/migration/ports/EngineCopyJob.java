package io.xenferry.migration.ports;

import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyException;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.Strategy;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Plan;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** The copy engine's job as the coordinator sees it. */
public final class EngineCopyJob implements CopyJob {
  /** A look adds up a number per disk; a gigabyte takes ten times as long. */
  private static final Duration LOOK = Duration.ofMillis(50);

  private final List<Plan.Disk> disks;
  private final Duration downtime;

  /** Disks that are copied otherwise than was planned, or were. */
  private final BitSet changed = new BitSet();

  private final Scheduler scheduler;
  private final CompletableFuture<Void> converged = new CompletableFuture<>();
  private final io.xenferry.copy.CopyJob job;

  /**
   * Starts the copy.
   *
   * @param disks of the migration's plan, in the order of {@code plans}
   */
  public EngineCopyJob(
      CopyEngine engine,
      List<Plan.Disk> disks,
      List<DiskPlan> plans,
      CopyOptions options,
      Scheduler scheduler,
      CopyListener also) {
    this.disks = List.copyOf(disks);
    this.scheduler = scheduler;
    this.downtime = options.downtimeBudget();
    this.job =
        engine.start(
            plans,
            options,
            scheduler,
            new CopyListener() {
              @Override
              public void onConverged(Duration predictedDowntime, boolean fits) {
                also.onConverged(predictedDowntime, fits);
                converged.complete(null);
              }

              @Override
              public void onNotConverging(String disk, long dirty, long suggested) {
                also.onNotConverging(disk, dirty, suggested);
              }

              @Override
              public void onMirrorDied(String disk, String reason) {
                also.onMirrorDied(disk, reason);
              }

              @Override
              public void onFailed(CopyException cause) {
                also.onFailed(cause);
                converged.completeExceptionally(cause);
              }
            });
    job.ended()
        .whenComplete((done, failure) -> {
          if (failure != null) {
            converged.completeExceptionally(failure);
          }
        });
  }

  /** The engine's own figures. */
  public CopySnapshot snapshot() {
    return job.snapshot();
  }

  @Override
  public CompletableFuture<Void> converged() {
    return converged;
  }

  @Override
  public CompletableFuture<Void> nearly(long bytes) {
    CompletableFuture<Void> reached = converged.copy();
    scheduler.execute(() -> look(bytes, reached));
    return reached;
  }

  private void look(long bytes, CompletableFuture<Void> reached) {
    if (!reached.isDone() && !job.ended().isDone()) {
      if (job.left() <= bytes) {
        reached.complete(null);
      } else {
        scheduler.schedule(LOOK, () -> look(bytes, reached));
      }
    }
  }

  @Override
  public CompletableFuture<Void> prepareSwitch() {
    return job.prepareSwitch();
  }

  @Override
  public CompletableFuture<List<UUID>> drain() {
    return job.drain().thenApply(snapshot -> disks.stream().map(Plan.Disk::vdi).toList());
  }

  @Override
  public CompletableFuture<Void> ended() {
    return job.ended().copy();
  }

  @Override
  public void holdSwitch(boolean held) {
    job.holdSwitch(held);
  }

  @Override
  public void adjust(Plan plan) {
    MoveLimits limits = MoveLimits.of(plan, downtime);
    job.bytesPerSecond(limits.bytesPerSecond());
    job.bytesPerSecondOfEach(limits.bytesPerSecondOfEach());
    job.downtimeBudget(limits.downtime());
    for (int i = 0; i < disks.size(); i++) {
      Plan.Disk disk = plan.disks().get(i);
      if (plan.running() && !disk.readOnly() && !disk.strategy().equals(disks.get(i).strategy())) {
        changed.set(i);
      }
      if (changed.get(i)) {
        job.strategy(i, Strategy.of(disk.strategy()).orElseThrow());
      }
    }
  }

  @Override
  public void pause() {
    job.pause();
  }

  @Override
  public void resume() {
    job.resume();
  }

  /** A drained job closes, any other is cancelled; both fence the destinations. */
  @Override
  public CompletableFuture<Void> close() {
    return job.close().exceptionallyCompose(notDrained -> job.cancel());
  }

  @Override
  public List<DiskProgress> progress() {
    CopySnapshot snapshot = job.snapshot();
    List<DiskProgress> all = new ArrayList<>();
    for (int i = 0; i < disks.size(); i++) {
      all.add(
          i < snapshot.disks().size()
              ? progress(disks.get(i), snapshot.disks().get(i), snapshot.phase())
              : notBegun(disks.get(i)));
    }
    return all;
  }

  private static DiskProgress notBegun(Plan.Disk disk) {
    return new DiskProgress(
        disk.vdi(),
        disk.device(),
        "starting",
        disk.size(),
        0,
        0,
        0,
        disk.size(),
        1,
        0,
        0,
        disk.strategy());
  }

  private static DiskProgress progress(
      Plan.Disk disk, CopySnapshot.Disk figures, CopySnapshot.Phase phase) {
    return new DiskProgress(
        disk.vdi(),
        disk.device(),
        phase.name().toLowerCase(Locale.ROOT),
        figures.logical(),
        figures.sent(),
        figures.skipped() + figures.zeroed(),
        figures.saved(),
        figures.left(),
        figures.passes().isEmpty() ? 1 : figures.passes().getLast().number() + 1,
        figures.bytesPerSecond(),
        figures.dirtyBytesPerSecond(),
        strategyNow(figures.mirror()).word());
  }

  private static Strategy strategyNow(CopySnapshot.Mirror mirror) {
    if (mirror.strategy() == Strategy.SNAPSHOT) {
      return Strategy.SNAPSHOT;
    }
    return mirror.up() ? Strategy.MIRROR : Strategy.LOG_DIRTY;
  }
}
