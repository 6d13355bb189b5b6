package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.ByteRate;
import io.xenferry.block.Range;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * The copy of one disk: pass after pass through its write-ordering point.
 *
 * <pre>
 *   OPENING → BEGINNING → COPYING → ENDING ┬→ BEGINNING   more to send
 *                 ↑          ↑________│    ├→ RESTING     little is left: look again later
 *                 │        flush failed    ├→ MIRRORED    both sides get every write
 *                 │                        └→ DRAINED     frozen, and nothing is left
 *                 └──────── RESTING, MIRRORED when the mirror died, DRAINED
 * </pre>
 *
 * <p>A mirror is begun between two passes. The pass after it, which it <i>covers</i>, is the last:
 * what the guest writes from before that pass on is handed to the write-ordering point, which logs
 * what it cannot mirror; so the pass stays open as the place to read from. The source's own noting
 * is the net in case the mirror dies: then the next pass has all since the covered one began.
 *
 * <p>A lost destination stops COPYING and ENDING where they are; they go on when it is back.
 * Confined to the job's scheduler.
 */
final class DiskCopy implements WriteOrderingPoint.Listener, DestinationLink.Owner, Pump.Owner {
  private static final Duration AFTER_FAILURE = Duration.ofMillis(50);

  /** Rest intervals between passes that cost much, once they get nowhere. */
  private static final int DEAR = 10;

  /** Reads in flight of what is verified while the guest runs: beside a pass, not before it. */
  private static final int CHECKS = 4;

  /** Looks at what the point has logged of a mirrored disk, per rest interval. */
  private static final int MIRROR_LOOKS = 10;

  /**
   * Requests in flight while the guest's writes wait behind them: two keep the destination busy,
   * sixteen make each write of the guest wait for 8 MiB.
   */
  private static final int DEPTH_BESIDE_A_MIRROR = 2;

  enum State {
    OPENING,
    BEGINNING,
    COPYING,
    ENDING,
    RESTING,
    MIRRORED,
    DRAINED,
    STOPPED
  }

  final DiskPlan plan;
  final WriteOrderingPoint point;
  private final CopyJob job;
  private final CopyOptions options;
  private final Scheduler scheduler;
  private final DestinationLink link;
  private final Pump pump;
  private final DiskCounters counters = new DiskCounters();
  private final Failures failures = new Failures();
  private final Forecast forecast;
  private final Yielding yielding;
  private final Mirroring mirroring;
  private final Verification verification;
  private final boolean resumed;

  private State state = State.OPENING;
  private SourceDisk.@Nullable Pass pass;
  private Scheduler.@Nullable Cancellable restTimer;
  private boolean draining;
  private boolean passIsFrozen;
  private boolean sourceLost;
  private CompletableFuture<Void> sourceClosed = CompletableFuture.completedFuture(null);

  /** The running pass began beneath a mirror that is up, or was ended well. */
  private boolean covered;

  private boolean coveredCounted;
  private boolean endingMirror;
  private boolean preparing;
  private boolean mirrorEarly;

  DiskCopy(
      CopyJob job,
      DiskPlan plan,
      CopyOptions options,
      BufferPool buffers,
      ByteRate rate,
      ByteRate total,
      Scheduler scheduler) {
    this.job = job;
    this.plan = plan;
    this.options = options;
    this.scheduler = scheduler;
    this.resumed = plan.log().begun();
    this.point =
        new WriteOrderingPoint(
            plan.source().name(),
            plan.log(),
            plan.guestDisk(),
            scheduler,
            options.timing(),
            options.digests() || options.verify() != CopyOptions.Verify.NOTHING,
            this);
    if (!plan.source().isWhole()) {
      point.layeredDestination();
    }
    this.link = new DestinationLink(plan, options, scheduler, point, this);
    this.pump = new Pump(this, point, buffers, rate, total, scheduler, counters);
    this.yielding = new Yielding(options.depth());
    this.forecast = new Forecast(options, counters, plan.source().size());
    this.verification =
        new Verification(
            checking(), point, buffers.bufferSize(), scheduler, options.timing().fenceDeadline());
    if (options.verify() != CopyOptions.Verify.NOTHING) {
      point.unverified().keep();
    }
    this.mirroring = new Mirroring(plan, point, options, scheduler, this::mirrorDied);
  }

  void start() {
    link.open();
    scheduler.schedule(options.flushInterval(), this::flushNowAndThen);
  }

  // ---- the destination comes and goes

  @Override
  public void attached(boolean again) {
    if (again) {
      job.destinationBack(this);
    }
    switch (state) {
      case OPENING, RESTING -> nextPass();
      case ENDING -> sendAgain();
      case COPYING -> pump.restart();
      case BEGINNING, MIRRORED, DRAINED, STOPPED -> {}
    }
    verification.run();
  }

  @Override
  public void failed(CopyException cause) {
    job.fail(cause);
  }

  @Override
  public void onDestinationLost(BlockException cause) {
    if (state != State.STOPPED) {
      job.destinationLost(this, cause);
    }
    link.lost();
  }

  @Override
  public void onFallback(String reason) {
    mirroring.pointFellBack(reason);
    job.fallback(this, reason);
  }

  @Override
  public void onLogFailed(Throwable cause) {
    job.fail(
        new CopyException(
            CopyException.Kind.LOG, name() + ": the dirty log cannot be written", cause));
  }

  // ---- passes

  /** Begins a pass, and a mirror before it where it is time for one. */
  private void nextPass() {
    cancelRest();
    state = State.BEGINNING;
    if (mirrorIsDue()) {
      mirroring.start(() -> {
        if (state == State.BEGINNING) {
          beginPass();
        }
      });
    } else {
      beginPass();
    }
  }

  private boolean mirrorIsDue() {
    return mirroring.wanted()
        && !draining
        && point.attached()
        && (mirroring.strategy() == Strategy.MIRROR || preparing || mirrorEarly);
  }

  private void beginPass() {
    cancelRest();
    state = State.BEGINNING;
    passIsFrozen = draining;
    covered = mirroring.up();
    coveredCounted = false;
    CompletableFuture<SourceDisk.Pass> next =
        passIsFrozen ? plan.source().beginLastPass() : plan.source().beginPass();
    next.whenComplete((begun, failure) ->
        scheduler.execute(() -> {
          if (state != State.BEGINNING) {
            if (begun != null) {
              begun.end(false);
            }
          } else if (begun == null) {
            beginFailed(failure);
          } else {
            passBegun(begun);
          }
        }));
  }

  private void beginFailed(@Nullable Throwable failure) {
    if (!failures.bear()) {
      job.fail(
          new CopyException(
              CopyException.Kind.SOURCE, name() + ": the source begins no pass: " + failure));
      return;
    }
    scheduler.schedule(
        AFTER_FAILURE.multipliedBy(failures.count()),
        () -> {
          if (state == State.BEGINNING) {
            beginPass();
          }
        });
  }

  private void passBegun(SourceDisk.Pass begun) {
    pass = begun;
    sourceLost = false;
    boolean first = counters.passCount() == 0 && !resumed;
    CompletableFuture<Void> marked = point.addDirty(begun.ranges());
    if (first) {
      if (!plan.knownZero() && plan.source().isWhole()) {
        CompletableFuture<Void> holes =
            point.addHoles(Range.gaps(begun.ranges(), point.map().size()));
        marked = marked.thenCompose(done -> holes);
      }
      marked = marked.thenCompose(done -> plan.log().begin());
    }
    marked.whenComplete((done, failure) ->
        scheduler.execute(() -> {
          if (state != State.BEGINNING) {
            return;
          }
          if (failure != null) {
            onLogFailed(failure);
            return;
          }
          state = State.COPYING;
          failures.passBegins();
          counters.passBegins(scheduler.nanoTime(), point.dirtyBytes());
          pump.restart();
        }));
  }

  // ---- what the pump asks and tells

  @Override
  public @Nullable BlockBackend content() {
    SourceDisk.Pass running = pass;
    return state != State.COPYING || running == null || job.paused() ? null : running.content();
  }

  @Override
  public int depth() {
    if (draining) {
      return options.depth(); // the guest stands still, and has nothing to wait for but this
    }
    return mirroring.up() ? Math.min(yielding.depth(), DEPTH_BESIDE_A_MIRROR) : yielding.depth();
  }

  @Override
  public boolean sourceLost() {
    return sourceLost;
  }

  @Override
  public boolean skipZeroes() {
    return plan.knownZero() && !resumed && !forecast.firstPassDone();
  }

  /** Something changed that may let more be sent. */
  void pump() {
    pump.run();
    verification.run();
  }

  @Override
  public void sent(Transfer transfer) {
    verification.run();
    if (transfer.bytesRead > 0) {
      yielding.read(transfer.readIssued, transfer.readDone);
    }
    if (transfer.sourceFailure != null) {
      sourceFailed(transfer.sourceFailure);
    } else if (transfer.destinationFailure != null && !transfer.lost) {
      destinationRefused(transfer.destinationFailure);
    }
  }

  @Override
  public void idle() {
    endPass();
  }

  private void sourceFailed(BlockException failure) {
    if (state == State.STOPPED) {
      return;
    }
    if (!failures.bear()) {
      job.fail(
          new CopyException(
              CopyException.Kind.SOURCE_READ, name() + ": the source cannot be read", failure));
    } else if (CopyException.isDead(failure.kind())) {
      sourceLost = true;
    } else {
      pump.holdOff(AFTER_FAILURE);
    }
  }

  private void destinationRefused(BlockException failure) {
    if (state == State.STOPPED || CopyException.isDead(failure.kind())) {
      return;
    }
    if (failures.bearRefusal(failure)) {
      pump.holdOff(AFTER_FAILURE);
    } else {
      job.fail(Failures.ending(name(), failure));
    }
  }

  private void flushNowAndThen() {
    if (state != State.STOPPED) {
      if (state == State.COPYING && point.attached()) {
        point.flushBoth().exceptionally(failure -> false);
      }
      scheduler.schedule(options.flushInterval(), this::flushNowAndThen);
    }
  }

  private void endPass() {
    state = State.ENDING;
    long asked = scheduler.nanoTime();
    point
        .flushBoth()
        .whenComplete((flushed, failure) ->
            scheduler.execute(() -> {
              if (state != State.ENDING) {
                return;
              }
              counters.flushed(scheduler.nanoTime() - asked);
              if (failure != null) {
                sourceFailed(CopyException.blockFailure(failure));
                sendAgain();
              } else if (flushed) {
                finishPass();
              } else if (point.attached()) {
                destinationRefused(new BlockException(BlockException.Kind.IO, "a flush failed"));
                sendAgain();
              }
            }));
  }

  private void sendAgain() {
    if (state == State.ENDING) {
      state = State.COPYING;
      pump.restart();
    }
  }

  private void finishPass() {
    if (covered && !sourceLost) {
      coveredPassDone();
      return;
    }
    SourceDisk.Pass ended = pass;
    pass = null;
    if (ended == null) {
      return;
    }
    // What could not be sent stays in the log, so the source need not remember it.
    ended
        .end(!sourceLost)
        .handle((done, failure) -> failure)
        .thenCompose(failure -> plan.source().dirtyBytes())
        .whenComplete((dirty, failure) ->
            scheduler.execute(() -> {
              if (state == State.ENDING) {
                passEnded(failure == null && dirty != null ? dirty : 0);
              }
            }));
  }

  private void passEnded(long dirtyAtSource) {
    forecast.left(dirtyAtSource + point.dirtyBytes());
    if (sourceLost) {
      state = State.BEGINNING;
      beginFailed(null);
      return;
    }
    forecast.passDone();
    failures.passEnds();
    counters.passEnds(scheduler.nanoTime(), forecast.left());
    verification.run();
    if (draining) {
      if (passIsFrozen && point.settled() && point.booksAgree()) {
        state = State.DRAINED;
        job.drained(this);
      } else if (passIsFrozen) {
        // A write to the destination is still under way: its range must wait.
        rest(AFTER_FAILURE.dividedBy(5));
      } else {
        nextPass();
      }
      return;
    }
    boolean fits = fits();
    // A mirror converges where passes do not; else it comes at the end, which is the least of it.
    mirrorEarly |= !fits && (forecast.diverges() || forecast.limitReached());
    if (mirrorIsDue()) {
      nextPass();
    } else if (fits) {
      rest(options.restInterval());
    } else if (forecast.limitReached()) {
      rest(options.restInterval().multipliedBy(plan.source().passesAreDear() ? DEAR : 1));
    } else {
      askForThrottle();
      nextPass();
    }
    job.evaluate();
  }

  // ---- beneath a mirror

  /** All that the covered pass had, and the point has logged since, was sent and flushed. */
  private void coveredPassDone() {
    forecast.left(point.dirtyBytes());
    if (!coveredCounted) {
      coveredCounted = true;
      forecast.passDone();
      failures.passEnds();
      counters.passEnds(scheduler.nanoTime(), forecast.left());
    }
    state = State.MIRRORED;
    verification.run();
    if (!draining) {
      watchMirrored(1);
      job.evaluate();
    } else if (mirroring.up()) {
      endMirror();
    } else if (point.settled() && point.booksAgree()) {
      state = State.DRAINED;
      job.drained(this);
    } else {
      // A write to the destination is still under way: its range must wait.
      restTimer = scheduler.schedule(AFTER_FAILURE.dividedBy(5), this::sendLogged);
    }
  }

  /** Sends what the point has logged soon, and flushes what was mirrored now and then. */
  private void watchMirrored(int look) {
    restTimer =
        scheduler.schedule(
            options.restInterval().dividedBy(MIRROR_LOOKS),
            () -> {
              restTimer = null;
              if (state != State.MIRRORED) {
                return;
              }
              boolean due = point.dirtyBytes() > 0 || look >= MIRROR_LOOKS && !point.booksAgree();
              if (due && point.attached() && !job.paused()) {
                sendLogged();
              } else {
                watchMirrored(look + 1);
              }
            });
  }

  private void sendLogged() {
    cancelRest();
    if (state == State.MIRRORED) {
      state = State.COPYING;
      pump.restart();
    }
  }

  /** The guest stands still: from the end of the mirror on the log has all that is missing. */
  private void endMirror() {
    if (endingMirror) {
      return;
    }
    endingMirror = true;
    mirroring.end(well -> {
      endingMirror = false;
      if ((!well || !covered) && !point.hasDefect(WriteOrderingPoint.Defect.DEAD_MIRROR_COVERS)) {
        uncover();
      } else {
        sendLogged();
      }
    });
  }

  private void mirrorDied(String reason) {
    job.mirrorDied(this, reason);
    if (!point.hasDefect(WriteOrderingPoint.Defect.DEAD_MIRROR_COVERS)) {
      uncover();
    }
  }

  /** No mirror any more, and the guest writes, or has: the next pass has what was noted. */
  private void uncover() {
    covered = false;
    if (state == State.MIRRORED) {
      cancelRest();
      state = State.ENDING;
      finishPass();
    }
  }

  private void askForThrottle() {
    if (job.switchHeld()) {
      return; // nobody waits for it to converge
    }
    forecast
        .throttle(scheduler.nanoTime())
        .ifPresent(suggested -> job.notConverging(this, counters.dirtyRate, suggested));
  }

  private void rest(Duration interval) {
    state = State.RESTING;
    restTimer =
        scheduler.schedule(
            interval,
            () -> {
              restTimer = null;
              if (state == State.RESTING) {
                lookAgain(interval);
              }
            });
  }

  private void lookAgain(Duration interval) {
    plan.source()
        .dirtyBytes()
        .whenComplete((dirty, failure) ->
            scheduler.execute(() -> {
              if (state != State.RESTING) {
                return;
              }
              forecast.left((dirty == null ? 0 : dirty) + point.dirtyBytes());
              if ((draining || mirrorIsDue() || isWorthAPass())
                  && point.attached()
                  && !job.paused()) {
                nextPass();
              } else {
                rest(interval);
              }
            }));
  }

  /** What does not fit is sent at once; what does only where that costs next to nothing. */
  private boolean isWorthAPass() {
    return forecast.left() > 0 && !(plan.source().passesAreDear() && fits());
  }

  private void cancelRest() {
    Scheduler.Cancellable timer = restTimer;
    restTimer = null;
    if (timer != null) {
      timer.cancel();
    }
  }

  // ---- the switch

  void drain() {
    draining = true;
    if (options.verify() == CopyOptions.Verify.LAST_SET) {
      point.unverified().forget();
    }
    if (state == State.RESTING && point.attached()) {
      nextPass();
    } else if (state == State.MIRRORED) {
      cancelRest();
      endMirror();
    }
  }

  /** Brings a mirror up where one is to be had, so that nothing is left when the guest pauses. */
  void prepareSwitch() {
    preparing = true;
    if (state == State.RESTING && mirrorIsDue()) {
      nextPass();
    }
  }

  boolean prepared() {
    return readyToSwitch()
        && link.connected()
        && state != State.COPYING
        && (state == State.MIRRORED || !mirroring.mayCome());
  }

  void resumeCopying() {
    draining = false;
    passIsFrozen = false; // the guest writes again: what this pass took is not the last set
    boolean mirrorEnded = covered && !mirroring.up();
    if (mirrorEnded) {
      covered = false; // it writes past us
    }
    if (state == State.DRAINED) {
      if (pass != null) {
        state = State.ENDING;
        finishPass();
      } else {
        state = State.RESTING;
        lookAgain(options.restInterval());
      }
    } else if (mirrorEnded && !endingMirror) {
      uncover();
    }
  }

  /** What the guest may be paused for from now on. */
  void downtimeBudget(Duration budget) {
    forecast.budget(budget);
  }

  /** Not to or from {@link Strategy#SNAPSHOT}. */
  void strategy(Strategy next) {
    if (mirroring.strategy() != next) {
      mirroring.strategy(next);
    }
  }

  /** The switch is wanted only now: passes before do not count against the limit. */
  void countPassesAnew() {
    forecast.countPassesAnew();
  }

  boolean isDrained() {
    return state == State.DRAINED;
  }

  // ---- reading back

  private Verification.Owner checking() {
    return new Verification.Owner() {
      @Override
      public int checks() {
        boolean now =
            switch (options.verify()) {
              case NOTHING -> false;
              case LAST_SET -> draining;
              case EVERYTHING -> forecast.firstPassDone();
            };
        if (!now || state == State.STOPPED || job.paused()) {
          return 0;
        }
        return draining ? options.depth() : Math.min(CHECKS, depth());
      }

      @Override
      public void caughtUp() {
        scheduler.execute(job::evaluate);
      }

      @Override
      public void failed(CopyException cause) {
        job.fail(cause);
      }
    };
  }

  /** Completes when nothing of a drained disk is left to be read back. */
  CompletableFuture<Void> verified() {
    return options.verify() == CopyOptions.Verify.NOTHING
        ? CompletableFuture.completedFuture(null)
        : verification.all();
  }

  /**
   * What was sent before the switch is to be read back before it, so that the guest need not wait.
   */
  private boolean mayPause() {
    return options.verify() != CopyOptions.Verify.EVERYTHING || verification.isCaughtUp();
  }

  /**
   * Ends all copying; when the result completes, the destination is fenced and the source closed.
   */
  CompletableFuture<Void> stop() {
    boolean stopped = state == State.STOPPED;
    state = State.STOPPED;
    cancelRest();
    mirroring.stop();
    CompletableFuture<Void> closed = link.close();
    SourceDisk.Pass running = pass;
    pass = null;
    if (!stopped) {
      CompletableFuture<Void> passEnded =
          running == null ? CompletableFuture.completedFuture(null) : running.end(false);
      sourceClosed =
          passEnded.handle((done, failure) -> {
            plan.source().close();
            return null;
          });
    }
    return CompletableFuture.allOf(closed, sourceClosed);
  }

  // ---- figures

  String name() {
    return plan.source().name();
  }

  boolean waiting() {
    return state != State.OPENING && state != State.STOPPED && !link.connected();
  }

  boolean readyToSwitch() {
    return forecast.firstPassDone()
        && state != State.OPENING
        && mayPause()
        && (fits() || forecast.limitReached());
  }

  boolean fits() {
    return forecast.fits(scheduler.nanoTime());
  }

  Duration predictedDowntime() {
    return forecast.downtime(scheduler.nanoTime());
  }

  /** What the disk counts in the progress of the whole job. */
  long weight() {
    return forecast.weight();
  }

  double progress() {
    return state == State.DRAINED ? 0.99 : forecast.progress();
  }

  long leftNow() {
    return switch (state) {
      case COPYING, ENDING, MIRRORED -> Math.max(point.dirtyBytes(), 0);
      case OPENING, BEGINNING, RESTING, DRAINED, STOPPED -> forecast.left();
    };
  }

  /** Bytes to be sent or read back. */
  long leftToDo() {
    boolean readsBack = options.verify() == CopyOptions.Verify.EVERYTHING;
    return leftNow() + (readsBack ? verification.left() : 0);
  }

  CopySnapshot.Disk snapshot() {
    return new CopySnapshot.Disk(
        name(),
        link.connected(),
        plan.source().size(),
        counters.allocated,
        counters.read,
        counters.skipped,
        counters.zeroed,
        counters.sent,
        leftNow(),
        counters.rate(scheduler.nanoTime()),
        counters.dirtyRate,
        depth(),
        counters.bottleneck(options.depth()),
        counters.waits(),
        mirroring.snapshot(),
        counters.passes());
  }
}
