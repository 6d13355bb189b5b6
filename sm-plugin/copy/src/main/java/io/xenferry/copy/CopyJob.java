package io.xenferry.copy;

import io.xenferry.block.BlockException;
import io.xenferry.block.ByteRate;
import io.xenferry.copy.CopySnapshot.Phase;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * The copy of all disks of a VM, in parallel and with one end.
 *
 * <pre>
 *   COPYING → CONVERGED → (the owner freezes the guest) → DRAINING → DRAINED → CLOSED
 *      ↑__________|______ resumeCopying ____________________|__________|
 *   from any of them: FAILED, CANCELLED; shown meanwhile: WAITING, PAUSED
 * </pre>
 *
 * <p>Until CLOSED the source is complete and the guest may go on there. Public methods may be
 * called from any thread and never block; futures complete on the job's scheduler.
 */
public final class CopyJob {
  /** Cancelling must take less than 2 s, whatever the destination does. */
  private static final Duration CANCEL_DEADLINE = Duration.ofMillis(1500);

  private static final Duration PUBLISH_INTERVAL = Duration.ofMillis(250);

  private final List<DiskCopy> disks = new ArrayList<>();
  private final Scheduler scheduler;
  private final CopyListener listener;
  private final ByteRate rate;
  private final CompletableFuture<Void> cancelled = new CompletableFuture<>();
  private final CompletableFuture<Void> ended = new CompletableFuture<>();
  private final JobFigures figures;
  private Phase phase = Phase.COPYING;
  private boolean paused;
  private boolean switchHeld;
  private @Nullable CompletableFuture<CopySnapshot> drain;
  private @Nullable CompletableFuture<Void> preparing;
  private @Nullable CopyException endedBy;

  CopyJob(
      List<DiskPlan> plans,
      CopyOptions options,
      BufferPool buffers,
      SharedRate total,
      Scheduler scheduler,
      CopyListener listener) {
    this.scheduler = scheduler;
    this.listener = listener;
    this.rate = ByteRate.of(options.bytesPerSecond());
    this.figures = new JobFigures(disks, scheduler, listener);
    SharedRate shared = new SharedRate(rate);
    for (DiskPlan plan : plans) {
      disks.add(new DiskCopy(this, plan, options, buffers, shared, total, scheduler));
    }
  }

  void start() {
    disks.forEach(DiskCopy::start);
    publishNowAndThen();
    evaluate();
  }

  // ---- what the owner may do

  /** The job as it was a moment ago; cheap. */
  public CopySnapshot snapshot() {
    return figures.latest();
  }

  /**
   * Completes when the job is CLOSED, exceptionally with a CopyException when it failed or was
   * cancelled.
   */
  public CompletableFuture<Void> ended() {
    return ended;
  }

  /**
   * The write-ordering point of a disk: where guest's writes go that the owner carries, and where
   * mirroring is switched on. To be used on the job's scheduler only.
   *
   * @throws NoSuchElementException when the job has no such disk
   */
  public WriteOrderingPoint orderingPoint(String disk) {
    return find(disk).point;
  }

  /**
   * Bytes still to be sent, or read back, of all disks together. To be asked on the job's scheduler
   * only.
   */
  public long left() {
    return disks.stream().mapToLong(DiskCopy::leftToDo).sum();
  }

  /**
   * Changes the limit of all disks of the job together, at once.
   *
   * @param bytesPerSecond 0 for none
   */
  public void bytesPerSecond(long bytesPerSecond) {
    rate.set(bytesPerSecond);
  }

  /**
   * Changes the limit of each disk by itself, at once.
   *
   * @param bytesPerSecond 0 for none
   */
  public void bytesPerSecondOfEach(long bytesPerSecond) {
    disks.forEach(disk -> disk.bytesPerSecond(bytesPerSecond));
  }

  /** Changes how long the guest may be paused for what is left; positive. */
  public void downtimeBudget(Duration budget) {
    scheduler.execute(() -> {
      disks.forEach(disk -> disk.downtimeBudget(budget));
      evaluate();
    });
  }

  /**
   * Changes how a disk is copied. A mirror that is not wanted any more is given up; one that is
   * wanted comes between two passes.
   *
   * @param disk of the plans, from 0; one that is written, and not copied by snapshots
   * @param next other than {@link Strategy#SNAPSHOT}
   */
  public void strategy(int disk, Strategy next) {
    scheduler.execute(() -> disks.get(disk).strategy(next));
  }

  /**
   * Whether the switch is not wanted yet, however well it would do: what becomes dirty goes on
   * being sent, nobody is asked to slow the guest for it, and once the switch is wanted its passes
   * are counted from then on.
   */
  public void holdSwitch(boolean held) {
    scheduler.execute(() -> {
      if (switchHeld && !held) {
        disks.forEach(DiskCopy::countPassesAnew);
      }
      switchHeld = held;
    });
  }

  /** Issues no further requests; what is in flight completes, and guest's writes are logged. */
  public void pause() {
    scheduler.execute(() -> {
      paused = true;
      publish();
    });
  }

  public void resume() {
    scheduler.execute(() -> {
      paused = false;
      disks.forEach(DiskCopy::pump);
      publish();
    });
  }

  /**
   * Gets ready for the switch, while the guest runs: mirrors are brought up where they are to be
   * had, so that the drain finds next to nothing.
   *
   * @return completes when every destination is there and what is left of each disk fits, with a
   *     mirror or without; that may take as long as a lost destination is waited for
   */
  public CompletableFuture<Void> prepareSwitch() {
    CompletableFuture<Void> result = new CompletableFuture<>();
    scheduler.execute(() -> {
      CompletableFuture<Void> before = preparing;
      if (phase.ended()) {
        CopyException why = endedBy;
        result.completeExceptionally(
            why != null
                ? why
                : new CopyException(CopyException.Kind.ABANDONED, "the job is " + phase));
        return;
      }
      preparing = result;
      if (before != null) {
        result.whenComplete((done, failure) -> {
          if (failure == null) {
            before.complete(null);
          } else {
            before.completeExceptionally(failure);
          }
        });
      }
      disks.forEach(DiskCopy::prepareSwitch);
      evaluate();
    });
    return result;
  }

  /**
   * Copies the last dirty sets; the guest must be frozen from before the call until the job has
   * ended or {@link #resumeCopying} was called.
   *
   * @return completes when source and destination are the same and flushed, the books agree, and
   *     what was to be verified is; a lost destination delays it. A job that has failed or was
   *     cancelled answers with that
   */
  public CompletableFuture<CopySnapshot> drain() {
    CompletableFuture<CopySnapshot> result = new CompletableFuture<>();
    scheduler.execute(() -> {
      if (drain != null || phase.ended()) {
        CopyException why = endedBy;
        result.completeExceptionally(
            why != null
                ? why
                : new CopyException(CopyException.Kind.ABANDONED, "the job is " + phase));
        return;
      }
      drain = result;
      paused = false;
      become(Phase.DRAINING);
      disks.forEach(DiskCopy::drain);
      disks.forEach(DiskCopy::pump);
      if (disks.isEmpty()) {
        allDrained();
      }
    });
    return result;
  }

  /** Abandons the switch: the guest runs on at the source, and the copy goes on. */
  public void resumeCopying() {
    scheduler.execute(() -> {
      if (phase != Phase.DRAINING && phase != Phase.DRAINED) {
        return;
      }
      CompletableFuture<CopySnapshot> abandoned = drain;
      drain = null;
      become(Phase.COPYING);
      disks.forEach(DiskCopy::resumeCopying);
      if (abandoned != null) {
        abandoned.completeExceptionally(
            new CopyException(CopyException.Kind.ABANDONED, "the switch was abandoned"));
      }
    });
  }

  /**
   * Fences and closes the destinations of a drained job.
   *
   * @return fails when the job is not drained, or its books do not agree any more: then the switch
   *     must not go on
   */
  public CompletableFuture<Void> close() {
    CompletableFuture<Void> result = new CompletableFuture<>();
    scheduler.execute(() -> {
      String wrong = phase == Phase.DRAINED ? booksThatDisagree() : "the job is " + phase;
      if (wrong != null) {
        result.completeExceptionally(new CopyException(CopyException.Kind.BOOKS, wrong));
        return;
      }
      allStopped()
          .whenComplete((done, failure) ->
              scheduler.execute(() -> {
                if (failure != null) {
                  result.completeExceptionally(failure);
                  return;
                }
                figures.complete();
                become(Phase.CLOSED);
                ended.complete(null);
                result.complete(null);
              }));
    });
    return result;
  }

  /**
   * Ends the job from any phase before CLOSED.
   *
   * @return completes within 2 s: with the destinations fenced, or given up when they do not answer
   */
  public CompletableFuture<Void> cancel() {
    scheduler.execute(() -> {
      if (phase.ended()) {
        cancelled.complete(null);
        return;
      }
      end(
          Phase.CANCELLED,
          new CopyException(CopyException.Kind.CANCELLED, "the copy was cancelled"));
    });
    return cancelled;
  }

  // ---- what the disks report

  boolean paused() {
    return paused;
  }

  boolean switchHeld() {
    return switchHeld;
  }

  void evaluate() {
    CompletableFuture<Void> waiting = preparing;
    if (waiting != null && disks.stream().allMatch(DiskCopy::prepared)) {
      preparing = null;
      waiting.complete(null);
    }
    boolean ready = disks.stream().allMatch(DiskCopy::readyToSwitch);
    if (phase == Phase.COPYING && ready) {
      become(Phase.CONVERGED);
      listener.onConverged(
          disks.stream().map(DiskCopy::downtimeNow).max(Duration::compareTo).orElse(Duration.ZERO),
          disks.stream().allMatch(DiskCopy::fits));
    } else {
      publish();
    }
  }

  void drained(DiskCopy disk) {
    publish();
    if (phase == Phase.DRAINING && disks.stream().allMatch(DiskCopy::isDrained)) {
      allDrained();
    }
  }

  private void allDrained() {
    CompletableFuture<CopySnapshot> waiter = drain;
    CompletableFuture.allOf(
            disks.stream().map(DiskCopy::verified).toArray(CompletableFuture[]::new))
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              if (waiter == null || drain != waiter || phase != Phase.DRAINING) {
                return;
              }
              String wrong = booksThatDisagree();
              if (wrong != null) {
                fail(new CopyException(CopyException.Kind.BOOKS, wrong));
              } else {
                become(Phase.DRAINED);
                waiter.complete(figures.latest());
              }
            }));
  }

  private @Nullable String booksThatDisagree() {
    for (DiskCopy disk : disks) {
      if (!disk.point.booksAgree()) {
        return "the books do not agree: " + disk.point.books();
      }
    }
    return null;
  }

  void fail(CopyException cause) {
    if (!phase.ended()) {
      end(Phase.FAILED, cause);
      listener.onFailed(cause);
    }
  }

  private void end(Phase how, CopyException cause) {
    endedBy = cause;
    become(how);
    CompletableFuture<CopySnapshot> waiter = drain;
    drain = null;
    CompletableFuture<Void> waiting = preparing;
    preparing = null;
    if (waiting != null) {
      waiting.completeExceptionally(cause);
    }
    allStopped().whenComplete((done, failure) -> cancelled.complete(null));
    scheduler.schedule(CANCEL_DEADLINE, () -> cancelled.complete(null));
    ended.completeExceptionally(cause);
    if (waiter != null) {
      waiter.completeExceptionally(cause);
    }
  }

  private CompletableFuture<Void> allStopped() {
    return CompletableFuture.allOf(
        disks.stream().map(DiskCopy::stop).toArray(CompletableFuture[]::new));
  }

  void destinationLost(DiskCopy disk, BlockException cause) {
    listener.onDestinationLost(disk.name(), cause);
    publishSoon();
  }

  void destinationBack(DiskCopy disk) {
    listener.onDestinationBack(disk.name());
    scheduler.execute(this::evaluate);
  }

  void fallback(DiskCopy disk, String reason) {
    listener.onFallback(disk.name(), reason);
  }

  void mirrorDied(DiskCopy disk, String reason) {
    listener.onMirrorDied(disk.name(), reason);
  }

  void notConverging(DiskCopy disk, long dirtyRate, long suggested) {
    listener.onNotConverging(disk.name(), dirtyRate, suggested);
  }

  // ---- display

  private void become(Phase next) {
    phase = next;
    publish();
  }

  private void publishSoon() {
    scheduler.execute(this::publish);
  }

  private void publishNowAndThen() {
    if (!phase.ended()) {
      publish();
      scheduler.schedule(PUBLISH_INTERVAL, this::publishNowAndThen);
    }
  }

  private Phase phaseToShow() {
    if (phase.ended() || phase == Phase.DRAINED) {
      return phase;
    }
    if (disks.stream().anyMatch(DiskCopy::waiting)) {
      return Phase.WAITING;
    }
    return paused ? Phase.PAUSED : phase;
  }

  private void publish() {
    figures.publish(phaseToShow());
  }

  private DiskCopy find(String disk) {
    return disks.stream()
        .filter(copy -> copy.name().equals(disk))
        .findFirst()
        .orElseThrow(() -> new NoSuchElementException(disk));
  }
}
