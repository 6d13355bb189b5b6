package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Range;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * The copy of one disk: pass after pass through its write-ordering point.
 *
 * <pre>
 *   OPENING → BEGINNING → COPYING → ENDING ┬→ BEGINNING   more to send
 *                 ↑          ↑________│    ├→ RESTING     little is left: look again later
 *                 │        flush failed    └→ DRAINED     frozen, and nothing is left
 *                 └──────── RESTING, DRAINED
 * </pre>
 *
 * A lost destination stops COPYING and ENDING where they are; they go on when it is back. Confined
 * to the job's scheduler.
 */
final class DiskCopy implements WriteOrderingPoint.Listener, DestinationLink.Owner {
  /** One zero request may cover so much; tgtd answers it as fast as a write of a few blocks. */
  private static final int LARGEST_ZERO = 32 << 20;

  /** So many failed requests without a clean pass between them end the job. */
  private static final int FAILURES_ALLOWED = 16;

  private static final Duration AFTER_FAILURE = Duration.ofMillis(50);

  /** A dirty set that keeps more than this share from one pass to the next does not converge. */
  private static final double SHRINKS = 0.8;

  enum State {
    OPENING,
    BEGINNING,
    COPYING,
    ENDING,
    RESTING,
    DRAINED,
    STOPPED
  }

  final DiskPlan plan;
  final WriteOrderingPoint point;
  final ByteRate rate;
  private final CopyJob job;
  private final CopyOptions options;
  private final BufferPool buffers;
  private final ByteRate total;
  private final Scheduler scheduler;
  private final DestinationLink link;
  private final DiskCounters counters = new DiskCounters();
  private final BitSet sentInDrain = new BitSet();
  private final boolean resumed;

  private State state = State.OPENING;
  private SourceDisk.@Nullable Pass pass;
  private Scheduler.@Nullable Cancellable restTimer;
  private int cursor;
  private int inFlight;
  private int failures;
  private int failuresBefore;
  private int throttles;
  private boolean waitsForRate;
  private boolean waitsForBuffer;
  private boolean holdOff;
  private boolean draining;
  private boolean passIsFrozen;
  private boolean sourceLost;
  private boolean firstPassDone;
  private long left;

  DiskCopy(
      CopyJob job,
      DiskPlan plan,
      CopyOptions options,
      BufferPool buffers,
      ByteRate total,
      Scheduler scheduler) {
    this.job = job;
    this.plan = plan;
    this.options = options;
    this.buffers = buffers;
    this.total = total;
    this.scheduler = scheduler;
    this.rate = ByteRate.of(options.diskBytesPerSecond());
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
    this.link = new DestinationLink(plan, options, scheduler, point, this);
    this.left = plan.source().size();
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
      case OPENING, RESTING -> beginPass();
      case ENDING -> sendAgain();
      case COPYING -> {
        cursor = 0;
        pump();
      }
      case BEGINNING, DRAINED, STOPPED -> {}
    }
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
    job.fallback(this, reason);
  }

  @Override
  public void onLogFailed(Throwable cause) {
    job.fail(
        new CopyException(
            CopyException.Kind.LOG, name() + ": the dirty log cannot be written", cause));
  }

  // ---- passes

  private void beginPass() {
    cancelRest();
    state = State.BEGINNING;
    passIsFrozen = draining;
    plan.source()
        .beginPass()
        .whenComplete((begun, failure) ->
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
    if (++failures > FAILURES_ALLOWED) {
      job.fail(
          new CopyException(
              CopyException.Kind.SOURCE, name() + ": the source begins no pass: " + failure));
      return;
    }
    scheduler.schedule(
        AFTER_FAILURE.multipliedBy(failures),
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
      if (!plan.knownZero()) {
        CompletableFuture<Void> holes = point.addHoles(complement(begun.ranges()));
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
          cursor = 0;
          failuresBefore = failures;
          counters.passBegins(scheduler.nanoTime(), point.dirtyBytes());
          pump();
        }));
  }

  private List<Range> complement(List<Range> ranges) {
    List<Range> gaps = new ArrayList<>();
    long at = 0;
    for (Range range : ranges) {
      if (range.offset() > at) {
        gaps.add(new Range(at, range.offset() - at));
      }
      at = Math.max(at, range.end());
    }
    if (at < point.map().size()) {
      gaps.add(new Range(at, point.map().size() - at));
    }
    return gaps;
  }

  /** Keeps as many transfers going as depth, buffers and rates allow. */
  void pump() {
    SourceDisk.Pass running = pass;
    if (state != State.COPYING
        || running == null
        || job.paused()
        || holdOff
        || !point.attached()
        || waitsForRate
        || waitsForBuffer) {
      return;
    }
    while (inFlight < options.depth() && !sourceLost) {
      if (waitForRate()) {
        return;
      }
      long asked = scheduler.nanoTime();
      ByteBuffer buffer = buffers.acquire(() -> scheduler.execute(() -> bufferFree(asked)));
      if (buffer == null) {
        waitsForBuffer = true;
        return;
      }
      BlockMap map = point.map();
      Transfer transfer =
          point.lockNext(
              cursor,
              buffers.bufferSize() / map.blockSize(),
              Math.max(1, LARGEST_ZERO / map.blockSize()));
      if (transfer == null) {
        buffers.release(buffer);
        break;
      }
      cursor = transfer.endBlock;
      inFlight++;
      long charged = transfer.hole ? 0 : transfer.length;
      rate.take(charged);
      total.take(charged);
      boolean skip = plan.knownZero() && !resumed && !firstPassDone;
      point.send(transfer, running.content(), buffer, skip, () -> sent(transfer, buffer, charged));
    }
    if (inFlight == 0) {
      endPass();
    }
  }

  private boolean waitForRate() {
    long now = scheduler.nanoTime();
    long wait = Math.max(rate.delay(now), total.delay(now));
    if (wait == 0) {
      return false;
    }
    waitsForRate = true;
    // A limit that is changed meanwhile shall not be noticed only after a long sleep.
    long step = Math.min(wait, Duration.ofMillis(100).toNanos());
    scheduler.schedule(
        Duration.ofNanos(step),
        () -> {
          waitsForRate = false;
          counters.rateNanos += step;
          pump();
        });
    return true;
  }

  private void bufferFree(long asked) {
    waitsForBuffer = false;
    counters.bufferNanos += scheduler.nanoTime() - asked;
    pump();
  }

  private void sent(Transfer transfer, ByteBuffer buffer, long charged) {
    inFlight--;
    if (transfer.lost) {
      buffers.discard();
    } else {
      buffers.release(buffer);
    }
    counters.count(transfer);
    rate.take(transfer.bytesSent - charged);
    total.take(transfer.bytesSent - charged);
    if (draining) {
      sentInDrain.set(transfer.firstBlock, transfer.endBlock);
    }
    if (transfer.sourceFailure != null) {
      sourceFailed(transfer.sourceFailure);
    } else if (transfer.destinationFailure != null && !transfer.lost) {
      destinationRefused(transfer.destinationFailure);
    }
    pump();
  }

  private void sourceFailed(BlockException failure) {
    if (state == State.STOPPED) {
      return;
    }
    if (++failures > FAILURES_ALLOWED) {
      job.fail(
          new CopyException(
              CopyException.Kind.SOURCE_READ, name() + ": the source cannot be read", failure));
    } else if (CopyException.isDead(failure.kind())) {
      sourceLost = true;
    } else {
      pauseBriefly();
    }
  }

  private void destinationRefused(BlockException failure) {
    if (state == State.STOPPED || CopyException.isDead(failure.kind())) {
      return;
    }
    CopyException.Kind kind =
        switch (failure.kind()) {
          case NO_SPACE -> CopyException.Kind.DESTINATION_FULL;
          case READ_ONLY -> CopyException.Kind.DESTINATION_REFUSED;
          case OUT_OF_RANGE -> CopyException.Kind.DESTINATION_UNFIT;
          case IO, BUSY, TIMEOUT, LOST, RESET, CLOSED, PROTOCOL, ACCESS ->
              CopyException.Kind.DESTINATION_IO;
        };
    if (failure.kind() == BlockException.Kind.BUSY) {
      pauseBriefly(); // not counted: it says itself that it will pass
    } else if (kind != CopyException.Kind.DESTINATION_IO || ++failures > FAILURES_ALLOWED) {
      job.fail(new CopyException(kind, name() + ": " + failure.getMessage(), failure));
    } else {
      pauseBriefly();
    }
  }

  private void pauseBriefly() {
    if (!holdOff) {
      holdOff = true;
      scheduler.schedule(
          AFTER_FAILURE,
          () -> {
            holdOff = false;
            pump();
          });
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
      cursor = 0;
      pump();
    }
  }

  private void finishPass() {
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
    left = dirtyAtSource + point.dirtyBytes();
    if (sourceLost) {
      state = State.BEGINNING;
      beginFailed(null);
      return;
    }
    firstPassDone = true;
    if (failures == failuresBefore) {
      failures = 0;
    }
    counters.passEnds(scheduler.nanoTime(), left);
    if (draining) {
      if (passIsFrozen && point.settled() && point.booksAgree()) {
        state = State.DRAINED;
        job.drained(this);
      } else if (passIsFrozen) {
        // A write to the destination is still under way: its range must wait.
        rest(AFTER_FAILURE.dividedBy(5));
      } else {
        beginPass();
      }
      return;
    }
    if (fits() || limitReached()) {
      rest(options.restInterval());
    } else {
      askForThrottle();
      beginPass();
    }
    job.evaluate();
  }

  private void askForThrottle() {
    int passes = counters.passCount();
    if (passes >= 3
        && left > SHRINKS * counters.dirtyOfPassBefore(0)
        && counters.dirtyOfPassBefore(0) > SHRINKS * counters.dirtyOfPassBefore(1)) {
      long rateNow = counters.rate(scheduler.nanoTime());
      long suggested = Math.max(1 << 20, rateNow >> ++throttles);
      job.notConverging(this, counters.dirtyRate, suggested);
    }
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
              left = (dirty == null ? 0 : dirty) + point.dirtyBytes();
              if ((left > 0 || draining) && point.attached() && !job.paused()) {
                beginPass();
              } else {
                rest(interval);
              }
            }));
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
    sentInDrain.clear();
    if (state == State.RESTING && point.attached()) {
      beginPass();
    }
  }

  void resumeCopying() {
    draining = false;
    passIsFrozen = false; // the guest writes again: what this pass took is not the last set
    if (state == State.DRAINED) {
      state = State.RESTING;
      lookAgain(options.restInterval());
    }
  }

  boolean isDrained() {
    return state == State.DRAINED;
  }

  BitSet sentInDrain() {
    return sentInDrain;
  }

  /** Ends all copying; the destination is fenced when the result completes. */
  CompletableFuture<Void> stop() {
    boolean stopped = state == State.STOPPED;
    state = State.STOPPED;
    cancelRest();
    CompletableFuture<Void> closed = link.close();
    SourceDisk.Pass running = pass;
    pass = null;
    if (!stopped) {
      if (running != null) {
        running.end(false).whenComplete((done, failure) -> plan.source().close());
      } else {
        plan.source().close();
      }
    }
    return closed;
  }

  // ---- figures

  String name() {
    return plan.source().name();
  }

  boolean waiting() {
    return state != State.OPENING && state != State.STOPPED && !link.connected();
  }

  boolean limitReached() {
    return counters.passCount() >= options.passLimit();
  }

  boolean readyToSwitch() {
    return firstPassDone && state != State.OPENING && (fits() || limitReached());
  }

  boolean fits() {
    return firstPassDone && predictedDowntime().compareTo(options.downtimeBudget()) <= 0;
  }

  Duration predictedDowntime() {
    long rateNow = Math.max(1, counters.rate(scheduler.nanoTime()));
    double seconds = (double) left / rateNow;
    return Duration.ofNanos((long) (Math.min(seconds, 1e6) * 1e9) + counters.flushNanos);
  }

  long allocated() {
    return firstPassDone ? counters.allocated : Math.max(counters.passDirty(), 1);
  }

  /** The share of the first pass that is done; after it, how near to nothing the rest is. */
  double progress() {
    if (state == State.DRAINED) {
      return 0.99;
    }
    if (!firstPassDone) {
      return 0.9 * Math.min(1, (double) counters.doneInPass() / Math.max(1, counters.passDirty()));
    }
    double open = Math.min(1, (double) left / Math.max(1, counters.allocated));
    return 0.9 + 0.08 * (1 - open);
  }

  long leftNow() {
    return switch (state) {
      case COPYING, ENDING -> Math.max(point.dirtyBytes(), 0);
      case OPENING, BEGINNING, RESTING, DRAINED, STOPPED -> left;
    };
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
        counters.bottleneck(options.depth()),
        counters.waits(),
        counters.passes());
  }

  Optional<BlockBackend> destination() {
    return Optional.ofNullable(point.destination()).map(Destination::backend);
  }
}
