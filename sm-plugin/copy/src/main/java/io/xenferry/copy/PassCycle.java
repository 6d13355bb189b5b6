package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Range;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The passes of one disk, and when the next one begins.
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
final class PassCycle implements RunningPass.Owner {
  /** Rest intervals between passes that cost much, once they get nowhere. */
  private static final int DEAR = 10;

  /** Looks at what the point has logged of a mirrored disk, per rest interval. */
  private static final int MIRROR_LOOKS = 10;

  /** How soon a range is looked at again that a write under way keeps from being settled. */
  private static final Duration UNSETTLED = RunningPass.AFTER_FAILURE.dividedBy(5);

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

  /** What it asks of the disk's copy, and tells it. */
  interface Owner {
    /** Whether the job is held. */
    boolean paused();

    /** Whether nobody waits for the passes to converge. */
    boolean switchHeld();

    /** More may be compared than before. */
    void progressed();

    /** So many bytes are to be sent in it. */
    void firstPassBegins(long dirty);

    /** All that it had was sent. */
    void firstPassDone();

    /** A first pass begins: what it leaves out, the destination has as zeroes. */
    void knownZeroes(List<Range> gaps);

    /** What the whole job does next may have changed. */
    void evaluate();

    /** Source and destination are the same, and flushed. */
    void drained();

    void notConverging(long dirtyRate, long suggested);

    void mirrorDied(String reason);

    void fail(CopyException cause);
  }

  private final Owner owner;
  private final DiskPlan plan;
  private final WriteOrderingPoint point;
  private final CopyOptions options;
  private final Scheduler scheduler;
  private final DiskCounters counters;
  private final Forecast forecast;
  private final Mirroring mirroring;
  private final RunningPass pass;
  private final boolean resumed;

  /** Whether a drained disk is to be readable. */
  private final boolean readsInPause;

  private State state = State.OPENING;
  private Scheduler.@Nullable Cancellable restTimer;
  private boolean draining;
  private @Nullable CompletableFuture<Void> sourceClosed;

  /** The running pass began beneath a mirror that is up, or was ended well. */
  private boolean covered;

  private boolean coveredCounted;

  /** The pass that is open has been told of. */
  private boolean counted;

  private boolean endingMirror;
  private boolean preparing;
  private boolean mirrorEarly;

  PassCycle(
      Owner owner,
      DiskPlan plan,
      WriteOrderingPoint point,
      CopyOptions options,
      Scheduler scheduler,
      DiskCounters counters,
      Window window,
      Function<Pump.Owner, Pump> pump) {
    this.owner = owner;
    this.plan = plan;
    this.point = point;
    this.options = options;
    this.scheduler = scheduler;
    this.counters = counters;
    this.resumed = plan.log().begun();
    this.readsInPause = options.verify() == CopyOptions.Verify.PAUSED;
    this.forecast = new Forecast(options, counters, plan.source().size());
    this.mirroring = new Mirroring(plan, point, options, scheduler, this::mirrorDied);
    this.pass = new RunningPass(this, plan.source(), options, window, scheduler, pump);
  }

  State state() {
    return state;
  }

  Forecast forecast() {
    return forecast;
  }

  Mirroring mirroring() {
    return mirroring;
  }

  /** Transfers that may be under way now. */
  int depth() {
    return pass.depth();
  }

  void start() {
    scheduler.schedule(options.flushInterval(), this::flushNowAndThen);
  }

  /** The destination is there, for the first time or again. */
  void attached() {
    switch (state) {
      case OPENING, RESTING -> nextPass();
      case ENDING -> sendAgain();
      case COPYING -> pass.sendAgain();
      case BEGINNING, MIRRORED, DRAINED, STOPPED -> {}
    }
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
    covered = mirroring.up();
    coveredCounted = false;
    counted = false;
    pass.begin(draining);
  }

  @Override
  public boolean beginning() {
    return state == State.BEGINNING;
  }

  @Override
  public void beginAgain() {
    beginPass();
  }

  @Override
  public void begun(SourceDisk.Pass begun) {
    boolean first = counters.passCount() == 0 && !resumed;
    CompletableFuture<Void> marked = point.addDirty(begun.ranges());
    if (first) {
      List<Range> gaps =
          plan.source().isWhole() ? Range.gaps(begun.ranges(), point.map().size()) : List.of();
      if (plan.knownZero()) {
        owner.knownZeroes(gaps);
      } else {
        CompletableFuture<Void> holes = point.addHoles(gaps);
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
            point.logFailed(failure);
            return;
          }
          state = State.COPYING;
          counters.passBegins(scheduler.nanoTime(), point.dirtyBytes());
          if (counters.passCount() == 0) {
            owner.firstPassBegins(point.dirtyBytes());
          }
          pass.send();
        }));
  }

  // ---- what the pass asks and tells

  @Override
  public boolean copying() {
    return state == State.COPYING && !owner.paused();
  }

  @Override
  public boolean draining() {
    return draining;
  }

  @Override
  public boolean mirrored() {
    return mirroring.up();
  }

  @Override
  public boolean skipZeroes() {
    return plan.knownZero() && !resumed && !forecast.firstPassDone();
  }

  /** Where the source can be read now; null for nowhere. */
  @Nullable BlockBackend sourceContent() {
    BlockBackend open = pass.readable();
    return open == null ? plan.guestDisk().orElse(null) : open;
  }

  @Override
  public void transferred() {
    owner.progressed();
  }

  @Override
  public void sentAll() {
    endPass();
  }

  @Override
  public void fail(CopyException cause) {
    owner.fail(cause);
  }

  /** Something changed that may let more be sent. */
  void pump() {
    pass.pump();
  }

  private void flushNowAndThen() {
    if (state != State.STOPPED) {
      if (state == State.COPYING && point.attached()) {
        // What has arrived for certain is not sent again by a server that takes the copy up.
        point.flushBoth().thenCompose(flushed -> plan.log().sync()).exceptionally(failure -> null);
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
                pass.sourceFailed(CopyException.blockFailure(failure));
                sendAgain();
              } else if (flushed) {
                finishPass();
              } else if (point.attached()) {
                pass.destinationRefused(
                    new BlockException(BlockException.Kind.IO, "a flush failed"));
                sendAgain();
              }
            }));
  }

  private void passDone() {
    if (!forecast.firstPassDone()) {
      owner.firstPassDone();
    }
    forecast.passDone();
    Comparison comparison = point.comparison();
    if (comparison != null) {
      comparison.end();
      point.compare(null);
    }
  }

  private void sendAgain() {
    if (state == State.ENDING) {
      state = State.COPYING;
      pass.sendAgain();
    }
  }

  private void finishPass() {
    if (covered && !pass.sourceLost()) {
      coveredPassDone();
      return;
    }
    if (draining && readsInPause && !pass.sourceLost() && isSettled()) {
      lastPassSent();
      return;
    }
    SourceDisk.Pass ended = pass.take();
    if (ended == null) {
      return;
    }
    // What could not be sent stays in the log, so the source need not remember it.
    ended
        .end(!pass.sourceLost())
        .handle((done, failure) -> failure)
        .thenCompose(failure -> plan.source().dirtyBytes())
        .whenComplete((dirty, failure) ->
            scheduler.execute(() -> {
              if (state == State.ENDING) {
                passEnded(failure == null && dirty != null ? dirty : 0);
              }
            }));
  }

  /** Whether nothing can be missing at the destination of a guest that stands still. */
  private boolean isSettled() {
    return pass.isLast() && point.settled() && point.booksAgree();
  }

  /** The last pass stays open, so that the source can be read. */
  private void lastPassSent() {
    forecast.left(point.dirtyBytes());
    passCounted();
    counted = true;
    state = State.DRAINED;
    owner.drained();
  }

  private void passCounted() {
    passDone();
    pass.sent();
    counters.passEnds(scheduler.nanoTime(), forecast.left());
  }

  private void passEnded(long dirtyAtSource) {
    forecast.left(dirtyAtSource + point.dirtyBytes());
    if (pass.sourceLost()) {
      state = State.BEGINNING;
      pass.notBegun(null);
      return;
    }
    if (!counted) {
      passCounted();
    }
    owner.progressed();
    if (draining) {
      if (isSettled()) {
        state = State.DRAINED;
        owner.drained();
      } else if (pass.isLast()) {
        // A write to the destination is still under way: its range must wait.
        rest(UNSETTLED);
      } else {
        nextPass();
      }
      return;
    }
    boolean fits = forecast.fits(scheduler.nanoTime());
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
    owner.evaluate();
  }

  // ---- beneath a mirror

  /** All that the covered pass had, and the point has logged since, was sent and flushed. */
  private void coveredPassDone() {
    forecast.left(point.dirtyBytes());
    if (!coveredCounted) {
      coveredCounted = true;
      passCounted();
    } else {
      forecast.flushedAgain();
    }
    state = State.MIRRORED;
    owner.progressed();
    if (!draining) {
      watchMirrored(1);
      owner.evaluate();
    } else if (mirroring.up()) {
      endMirror();
    } else if (point.settled() && point.booksAgree()) {
      state = State.DRAINED;
      owner.drained();
    } else {
      // A write to the destination is still under way: its range must wait.
      restTimer = scheduler.schedule(UNSETTLED, this::sendLogged);
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
              boolean fits = forecast.fits(scheduler.nanoTime()); // not after a slow flush
              boolean due =
                  point.dirtyBytes() > 0 || look >= MIRROR_LOOKS && !(point.booksAgree() && fits);
              if (due && point.attached() && !owner.paused()) {
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
      pass.sendAgain();
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
    owner.mirrorDied(reason);
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
    if (owner.switchHeld()) {
      return; // nobody waits for it to converge
    }
    forecast
        .throttle(scheduler.nanoTime())
        .ifPresent(suggested -> owner.notConverging(counters.dirtyRate, suggested));
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
                  && !owner.paused()) {
                nextPass();
              } else {
                rest(interval);
                owner.progressed(); // by what was mirrored past the passes
              }
            }));
  }

  /** What does not fit is sent at once; what does only where that costs next to nothing. */
  private boolean isWorthAPass() {
    return forecast.left() > 0
        && !(plan.source().passesAreDear() && forecast.fits(scheduler.nanoTime()));
  }

  private void cancelRest() {
    Scheduler.Cancellable timer = restTimer;
    restTimer = null;
    if (timer != null) {
      timer.cancel();
    }
  }

  // ---- the switch

  /** The guest stands still from now on. */
  void drain() {
    draining = true;
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

  /** Whether nothing more can be done for the switch while the guest runs. */
  boolean prepared() {
    return state != State.COPYING && (state == State.MIRRORED || !mirroring.mayCome());
  }

  /** The guest goes on. */
  void resumeCopying() {
    draining = false;
    pass.notLast();
    boolean mirrorEnded = covered && !mirroring.up();
    if (mirrorEnded) {
      covered = false; // it writes past us
    }
    if (state == State.DRAINED) {
      if (pass.isOpen()) {
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

  boolean isDrained() {
    return state == State.DRAINED;
  }

  boolean isStopped() {
    return state == State.STOPPED;
  }

  /** Begins and sends nothing more. */
  void stop() {
    state = State.STOPPED;
    pass.stop();
    cancelRest();
    mirroring.stop();
  }

  /** Gives the source back, once stopped; completes when it is closed. Idempotent. */
  CompletableFuture<Void> closeSource() {
    CompletableFuture<Void> closed = sourceClosed;
    if (closed == null) {
      SourceDisk.Pass running = pass.take();
      CompletableFuture<Void> passEnded =
          running == null ? CompletableFuture.completedFuture(null) : running.end(false);
      CompletableFuture<Void> source =
          passEnded.handle((done, failure) -> {
            plan.source().close();
            return null;
          });
      closed = CompletableFuture.allOf(source, pass.giveBackComing());
      sourceClosed = closed;
    }
    return closed;
  }

  /** Bytes to be sent, as far as known. */
  long left() {
    return switch (state) {
      case COPYING, ENDING, MIRRORED -> Math.max(point.dirtyBytes(), 0);
      case OPENING, BEGINNING, RESTING, DRAINED, STOPPED -> forecast.left();
    };
  }
}
