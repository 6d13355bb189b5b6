package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Range;
import io.xenferry.copy.Unverified.Check;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Compares what a disk's destination holds with what it should hold, block by block, several
 * requests at a time. The destination hashes its blocks itself; one that cannot is read back. It
 * follows the copy while the guest runs, so that of a frozen guest only what was sent last is left.
 *
 * <p>What the copier has sent was hashed then, and must be there unless something was about to be
 * written meanwhile. What a mirror has written is read from the source: while the guest runs that
 * may be ahead of the destination, so a difference counts only when it stands still. Confined to
 * the job's scheduler.
 */
final class Verification {
  private static final Duration PAUSE = Duration.ofMillis(20);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(1);

  /**
   * Rounds over the disk since the first pass after which a guest that goes on writing counts as
   * caught up with: what is left then is what was sent during the last of them.
   */
  private static final int ROUNDS = 3;

  /**
   * Blocks that both ends are asked about at once. Each reads of them what is data, up to {@link
   * LocalDigests#MOST_READ}; of a disk that is empty for the most part many go into one answer.
   */
  private static final int MOST_FROM_SOURCE = 1 << 12;

  /** A small disk is asked about in so many questions at the least. */
  private static final int SHARES = 64;

  /** What it asks of the disk's copy, and tells it. */
  interface Owner {
    /**
     * How many requests may be under way; 0 while nothing is to be compared.
     *
     * @param readsBack whether each brings what it compares over the network
     */
    int checks(boolean readsBack);

    /** Whether source and destination are the same by the books, and the guest stands still. */
    boolean isDrained();

    /** Where the source can be read now; null when it cannot. */
    @Nullable BlockBackend sourceContent();

    /** All that was sent is compared, or as good as. */
    void caughtUp();

    /** The destination has not what it should have, or cannot be asked. */
    void failed(CopyException cause);
  }

  /**
   * What it may take.
   *
   * @param requestSize bytes of the largest run that is read at once, of which buffers are held
   * @param answer after which a destination that hashes has not answered
   * @param read after which one that is read back counts as lost
   * @param patience for how long all requests may fail
   */
  record Limits(int requestSize, Duration answer, Duration read, Duration patience) {}

  private final Owner owner;
  private final WriteOrderingPoint point;
  private final Unverified unverified;
  private final Limits limits;
  private final Scheduler scheduler;

  /** Null where the destination is to be read back. */
  private @Nullable DestinationDigests digests;

  private CompletableFuture<Void> all = new CompletableFuture<>();
  private Duration pause = PAUSE;
  private long failingSince;
  private boolean failing;
  private boolean holdsOff;
  private boolean flushing;
  private boolean toldCaughtUp;
  private boolean firstPassDone;
  private long begunAt;
  private long verified;
  private long busySince;
  private long busyNanos;

  Verification(
      Owner owner,
      WriteOrderingPoint point,
      Optional<DestinationDigests> digests,
      Limits limits,
      Scheduler scheduler) {
    this.owner = owner;
    this.point = point;
    this.digests = digests.orElse(null);
    this.unverified = point.unverified();
    this.limits = limits;
    this.scheduler = scheduler;
  }

  /**
   * What was sent is compared, or all but what a guest that writes for ever keeps adding. Whoever
   * hears that it is not hears of it when it is.
   */
  boolean isCaughtUp() {
    boolean now = unverified.isEmpty() || unverified.sweeps() >= ROUNDS;
    toldCaughtUp &= now;
    return now;
  }

  /** What was sent until now is not yet gone through, however often what came before it was. */
  void firstPassDone() {
    firstPassDone = true;
    unverified.sweepAnew();
  }

  /** Bytes to be compared. */
  long left() {
    return unverified.bytes();
  }

  /** Bytes that were compared, and the same. */
  long verified() {
    return verified;
  }

  /** How long requests have been under way. */
  Duration took() {
    return Duration.ofNanos(
        busyNanos + (unverified.underWay() > 0 ? scheduler.nanoTime() - busySince : 0));
  }

  /** Completes when nothing is left; nothing may be sent meanwhile. */
  CompletableFuture<Void> all() {
    all = new CompletableFuture<>();
    CompletableFuture<Void> result = all;
    run();
    return result;
  }

  /** Begins what may be begun now. */
  void run() {
    Destination from = point.destination();
    int most = owner.checks(digests == null);
    while (from != null && !holdsOff && !flushing && unverified.underWay() < most) {
      BlockBackend source = owner.sourceContent();
      Check check = unverified.next(from.generation(), mostBlocks(), leastBlocks(), source != null);
      if (check == null) {
        if (unverified.underWay() == 0 && !unverified.isEmpty()) {
          nothingToBegin(source);
        }
        break;
      }
      if (unverified.underWay() == 1) {
        busySince = scheduler.nanoTime();
      }
      begin(check, from.backend(), source);
    }
    if (unverified.isEmpty() && most > 0) {
      all.complete(null);
    }
    if (isCaughtUp() && !toldCaughtUp) {
      toldCaughtUp = true;
      owner.caughtUp();
    }
  }

  /**
   * While the copy is still adding to what is there, a question is worth its while only when it is
   * large, or none has been asked for long: each costs a round trip, and the destination a look at
   * what is allocated.
   */
  private int leastBlocks() {
    return firstPassDone || scheduler.nanoTime() - begunAt >= LONGEST_PAUSE.toNanos()
        ? 1
        : Math.clamp(point.map().count() / SHARES, 1, mostBlocks().sent());
  }

  private Unverified.Most mostBlocks() {
    int blockSize = point.map().blockSize();
    return digests == null
        ? new Unverified.Most(
            Math.max(1, limits.requestSize() / blockSize),
            Math.max(1, limits.requestSize() / blockSize))
        : new Unverified.Most(Math.max(1, LocalDigests.MOST_READ / blockSize), MOST_FROM_SOURCE);
  }

  /** All that is left is being written, or cannot be read at the source. */
  private void nothingToBegin(@Nullable BlockBackend source) {
    if (source == null && owner.isDrained()) {
      owner.failed(
          new CopyException(
              CopyException.Kind.VERIFY,
              point.name() + ": what was mirrored cannot be read to verify it"));
    } else {
      holdOff();
    }
  }

  private void holdOff() {
    if (!holdsOff) {
      holdsOff = true;
      scheduler.schedule(
          pause,
          () -> {
            holdsOff = false;
            run();
          });
    }
  }

  /**
   * Flushes before a difference counts: a destination that has lost what was not flushed, and that
   * nobody has asked anything since, says so then, and is sent that again.
   */
  private void lookForAReset() {
    if (flushing) {
      return; // what has come up since is looked at again, and flushed for then
    }
    flushing = true;
    unverified.flushIssued();
    Destination before = point.destination();
    point
        .flushBoth()
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              flushing = false;
              unverified.flushed(
                  failure == null && done && before != null && before.equals(point.destination()));
              run();
            }));
  }

  // ---- one check

  private void begin(Check check, BlockBackend destination, @Nullable BlockBackend source) {
    boolean drained = owner.isDrained();
    begunAt = scheduler.nanoTime();
    DestinationDigests told = digests;
    CompletableFuture<BlockHashes> there =
        ask(check, told == null ? new LocalDigests(destination, mostRead()) : told);
    CompletableFuture<Optional<BlockHashes>> here =
        check.fromSource && source != null
            ? ask(check, new LocalDigests(source, mostRead())).thenApply(Optional::of)
            : CompletableFuture.completedFuture(Optional.empty());
    Scheduler.Cancellable overdue =
        scheduler.schedule(
            digests == null ? limits.read() : limits.answer(),
            () ->
                there.completeExceptionally(
                    new BlockException(
                        BlockException.Kind.TIMEOUT,
                        point.name() + ": what the destination holds was not told in time")));
    CompletableFuture.allOf(there, here.handle((read, failure) -> failure == null))
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              overdue.cancel();
              answered(check, drained, there, here);
            }));
  }

  private CompletableFuture<BlockHashes> ask(Check check, DestinationDigests from) {
    BlockMap map = point.map();
    Range range = new Range(map.offset(check.first), map.bytes(check.first, check.end));
    // A copy, which the deadline may end.
    return Requests.digests(from, range, map.blockSize(), Digest.CHECKSUM).copy();
  }

  private int mostRead() {
    return digests == null ? limits.requestSize() : LocalDigests.MOST_READ;
  }

  private void answered(
      Check check,
      boolean drained,
      CompletableFuture<BlockHashes> there,
      CompletableFuture<Optional<BlockHashes>> here) {
    unverified.ended(check);
    if (unverified.underWay() == 0) {
      busyNanos += scheduler.nanoTime() - busySince;
    }
    Destination now = point.destination();
    boolean same = now != null && now.generation() == check.generation;
    if (there.isCompletedExceptionally()) {
      unverified.notTold(check);
      notTold(CopyException.cause(there.exceptionNow()), same);
    } else if (!same) {
      unverified.notTold(check);
    } else if (here.isCompletedExceptionally()) {
      unverified.notTold(check);
      failed(CopyException.cause(here.exceptionNow()));
    } else {
      failing = false;
      pause = PAUSE;
      compare(check, drained, there.join(), here.join());
    }
    run();
  }

  private void notTold(Throwable failure, boolean same) {
    if (failure instanceof UnsupportedOperationException && digests != null) {
      digests = null; // what it holds is read back then
      unverified.neverSentToo(false);
      return;
    }
    if (digests == null
        && failure instanceof BlockException dead
        && CopyException.isDead(dead.kind())
        && same) {
      point.destinationFailed(dead); // the link brings another
    }
    failed(failure);
  }

  private void failed(Throwable failure) {
    long now = scheduler.nanoTime();
    if (!failing) {
      failing = true;
      failingSince = now;
    } else if (now - failingSince >= limits.patience().toNanos()) {
      owner.failed(
          new CopyException(
              CopyException.Kind.VERIFY,
              point.name() + ": cannot verify: " + failure.getMessage(),
              failure));
    }
    holdOff();
    pause =
        pause.multipliedBy(2).compareTo(LONGEST_PAUSE) < 0 ? pause.multipliedBy(2) : LONGEST_PAUSE;
  }

  /**
   * @param read what the blocks should hold, of a check that asks the source
   */
  private void compare(Check check, boolean drained, BlockHashes told, Optional<BlockHashes> read) {
    BlockMap map = point.map();
    int count = Math.min(told.count(), read.map(BlockHashes::count).orElse(Integer.MAX_VALUE));
    int end = Math.min(check.end, check.first + count);
    unverified.goOn(check, end);
    for (int block = check.first; block < end; block++) {
      int index = block - check.first;
      if (check.overtaken.get(block)) {
        continue; // is noted when it arrives
      }
      if (read.isPresent()
          ? told.holds(index, read.get().of(index))
          : unverified.hashes().matches(block, told.of(index))) {
        verified += map.bytes(block, block + 1);
        unverified.verified(block);
      } else if (read.isPresent() && !drained) {
        // The source may have a write that is on its way.
        unverified.putBack(check, block, block + 1);
        holdOff();
      } else if (!unverified.suspect(block)) {
        lookForAReset();
      } else {
        owner.failed(
            new CopyException(
                CopyException.Kind.VERIFY,
                "%s: block %d at byte %d is not what %s"
                    .formatted(
                        point.name(),
                        block,
                        map.offset(block),
                        read.isPresent() ? "the source has" : "was sent")));
        return;
      }
    }
  }
}
