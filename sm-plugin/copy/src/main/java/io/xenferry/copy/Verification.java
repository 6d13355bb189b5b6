package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockDigests;
import io.xenferry.block.BlockException;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Reads back from a disk's destination what was sent, and compares each block with the checksum of
 * what was sent, several requests at a time. It follows the copy while the guest runs, so that of a
 * frozen guest only what was sent last is left. Blocks that were never written are not read, and
 * for those that a mirror wrote only the flush vouches. Confined to the job's scheduler.
 */
final class Verification {
  /** Reads may fail so often in a row, apart from losses, which the resume window bounds. */
  private static final int FAILURES_ALLOWED = 16;

  private static final Duration PAUSE = Duration.ofMillis(20);

  /**
   * Rounds over the disk after which a guest that goes on writing counts as caught up with: what is
   * left then is what was sent during the last of them.
   */
  private static final int ROUNDS = 3;

  /** What it asks of the disk's copy, and tells it. */
  interface Owner {
    /** How many requests may be under way; 0 while nothing is to be read. */
    int checks();

    /** Whether all that was sent is read back, or as good as, has changed. */
    void caughtUp();

    /** The destination has not what was sent, or cannot be read. */
    void failed(CopyException cause);
  }

  private final Owner owner;
  private final WriteOrderingPoint point;
  private final Unverified unverified;
  private final int requestSize;
  private final Scheduler scheduler;
  private final Duration deadline;
  private final Deque<ByteBuffer> buffers = new ArrayDeque<>();
  private CompletableFuture<Void> all = new CompletableFuture<>();
  private int failures;
  private boolean holdsOff;
  private boolean wasCaughtUp;

  /**
   * @param requestSize bytes of the largest run read at once; buffers of it are held per request
   * @param deadline after which a read without an answer makes the destination count as lost
   */
  Verification(
      Owner owner,
      WriteOrderingPoint point,
      int requestSize,
      Scheduler scheduler,
      Duration deadline) {
    this.owner = owner;
    this.point = point;
    this.unverified = point.unverified();
    this.requestSize = requestSize;
    this.scheduler = scheduler;
    this.deadline = deadline;
  }

  /** What was sent is read back, or all but what a guest that writes for ever keeps adding. */
  boolean isCaughtUp() {
    return unverified.isEmpty() || unverified.sweeps() >= ROUNDS;
  }

  /** Bytes to be read back. */
  long left() {
    return unverified.bytes();
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
    while (from != null && !holdsOff && unverified.underWay() < owner.checks()) {
      Unverified.Check check =
          unverified.next(from.generation(), requestSize / point.map().blockSize());
      if (check == null) {
        if (unverified.underWay() == 0 && !unverified.isEmpty()) {
          holdOff(); // all that is left is being written
        }
        break;
      }
      read(check, from.backend());
    }
    if (unverified.isEmpty() && owner.checks() > 0) {
      all.complete(null);
    }
    if (isCaughtUp() != wasCaughtUp) {
      wasCaughtUp = !wasCaughtUp;
      owner.caughtUp();
    }
  }

  private void holdOff() {
    if (!holdsOff) {
      holdsOff = true;
      scheduler.schedule(
          PAUSE,
          () -> {
            holdsOff = false;
            run();
          });
    }
  }

  private void read(Unverified.Check check, BlockBackend from) {
    BlockMap map = point.map();
    long offset = map.offset(check.first);
    long bytes = map.bytes(check.first, check.end);
    int alignment = from.alignment();
    int padded =
        (int) Math.min((bytes + alignment - 1) / alignment * alignment, from.size() - offset);
    ByteBuffer known = buffers.poll();
    ByteBuffer buffer = known == null ? ByteBuffer.allocateDirect(requestSize) : known;
    Scheduler.Cancellable overdue =
        scheduler.schedule(
            deadline,
            () ->
                answered(
                    check,
                    buffer,
                    new BlockException(
                        BlockException.Kind.TIMEOUT,
                        point.name() + ": a read was not answered in time")));
    Requests.inPieces(
        from.maxTransfer(),
        padded,
        scheduler,
        (at, piece) -> from.read(offset + at, buffer.slice(at, piece)),
        failure -> {
          overdue.cancel();
          answered(check, buffer, CopyException.blockFailureOrNull(failure));
        });
  }

  private void answered(
      Unverified.Check check, ByteBuffer buffer, @Nullable BlockException failure) {
    if (check.ended) {
      return;
    }
    Destination now = point.destination();
    boolean same = now != null && now.generation() == check.generation;
    if (failure != null) {
      // The buffer is left alone: a request that was given up may still write to it.
      unverified.ended(check, false);
      failed(failure, same);
    } else {
      boolean counts = same && !check.overtaken;
      unverified.ended(check, counts);
      buffers.push(buffer);
      failures = 0;
      if (counts) {
        compare(check, buffer);
      }
    }
    run();
  }

  private void failed(BlockException failure, boolean same) {
    if (CopyException.isDead(failure.kind())) {
      if (same) {
        point.destinationFailed(failure); // the link brings another
      }
    } else if (++failures > FAILURES_ALLOWED) {
      owner.failed(
          new CopyException(
              CopyException.Kind.VERIFY,
              point.name() + ": cannot verify: " + failure.getMessage(),
              failure));
    }
    holdOff();
  }

  private void compare(Unverified.Check check, ByteBuffer buffer) {
    BlockMap map = point.map();
    BlockDigests digests = point.digests();
    for (int block = check.first; digests != null && block < check.end; block++) {
      int from = (int) (map.offset(block) - map.offset(check.first));
      int to = from + (int) map.bytes(block, block + 1);
      if (digests.of(block).orElseThrow() != BlockDigests.digest(buffer, from, to)) {
        owner.failed(
            new CopyException(
                CopyException.Kind.VERIFY,
                "%s: block %d at byte %d is not what was sent"
                    .formatted(point.name(), block, map.offset(block))));
        return;
      }
    }
  }
}
