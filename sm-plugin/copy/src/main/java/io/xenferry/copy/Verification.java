package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockDigests;
import io.xenferry.block.BlockException;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;

/**
 * Reads a frozen, drained disk back from its destination and compares each block with the checksum
 * of what was sent; a block that was never written with zeroes. One block at a time: meant for the
 * last dirty set, and for those who want certainty more than speed.
 */
final class Verification {
  /** Reads may fail so often, apart from losses, which the resume window bounds. */
  private static final int FAILURES_ALLOWED = 16;

  private static final Duration AFTER_FAILURE = Duration.ofMillis(20);

  private final DiskCopy disk;
  private final BitSet blocks;
  private final Scheduler scheduler;
  private final BooleanSupplier wanted;
  private final ByteBuffer buffer;
  private final CompletableFuture<Void> result = new CompletableFuture<>();
  private int failures;

  private Verification(DiskCopy disk, BitSet blocks, Scheduler scheduler, BooleanSupplier wanted) {
    this.disk = disk;
    this.blocks = blocks;
    this.scheduler = scheduler;
    this.wanted = wanted;
    this.buffer = ByteBuffer.allocateDirect(disk.point.map().blockSize());
  }

  /**
   * @param wanted turns false when nobody waits for the answer any more, which then never comes
   */
  static CompletableFuture<Void> of(
      List<DiskCopy> disks,
      CopyOptions.Verify verify,
      Scheduler scheduler,
      BooleanSupplier wanted) {
    if (verify == CopyOptions.Verify.NOTHING) {
      return CompletableFuture.completedFuture(null);
    }
    List<CompletableFuture<Void>> all = new ArrayList<>();
    for (DiskCopy disk : disks) {
      BitSet blocks = (BitSet) disk.sentInDrain().clone();
      if (verify == CopyOptions.Verify.EVERYTHING) {
        blocks.set(0, disk.point.map().count());
      }
      Verification one = new Verification(disk, blocks, scheduler, wanted);
      one.next(0);
      all.add(one.result);
    }
    return CompletableFuture.allOf(all.toArray(CompletableFuture[]::new));
  }

  static CopyException failure(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null && !(cause instanceof CopyException)) {
      cause = cause.getCause();
    }
    return cause instanceof CopyException known
        ? known
        : new CopyException(CopyException.Kind.VERIFY, "cannot verify: " + cause, failure);
  }

  private void next(int from) {
    if (!wanted.getAsBoolean()) {
      return;
    }
    int block = blocks.nextSetBit(from);
    if (block < 0) {
      result.complete(null);
      return;
    }
    BlockBackend destination = disk.destination().orElse(null);
    if (destination == null) {
      scheduler.schedule(AFTER_FAILURE, () -> next(block));
      return;
    }
    BlockMap map = disk.point.map();
    int bytes = (int) map.bytes(block, block + 1);
    int alignment = destination.alignment();
    int padded =
        (int)
            Math.min(
                ((long) bytes + alignment - 1) / alignment * alignment,
                destination.size() - map.offset(block));
    Requests.inPieces(
        destination.maxTransfer(),
        padded,
        scheduler,
        (at, piece) -> destination.read(map.offset(block) + at, buffer.slice(at, piece)),
        failure -> {
          if (failure != null) {
            failed(block, CopyException.blockFailure(failure));
          } else if (matches(block, bytes)) {
            next(block + 1);
          } else {
            result.completeExceptionally(
                new CopyException(
                    CopyException.Kind.VERIFY,
                    "%s: block %d at byte %d is not what was sent"
                        .formatted(disk.name(), block, map.offset(block))));
          }
        });
  }

  private void failed(int block, BlockException failure) {
    if (CopyException.isDead(failure.kind())) {
      disk.point.destinationFailed(failure); // the link brings another
    } else if (++failures > FAILURES_ALLOWED) {
      result.completeExceptionally(failure);
      return;
    }
    scheduler.schedule(AFTER_FAILURE, () -> next(block));
  }

  private boolean matches(int block, int bytes) {
    buffer.clear();
    BlockDigests digests = disk.point.digests();
    if (digests != null && digests.of(block).isPresent()) {
      return digests.of(block).getAsInt() == BlockDigests.digest(buffer, 0, bytes);
    }
    // Never written: must still be zeroes. Else a mirrored write was the last, and only the flush
    // vouches for it.
    return !disk.point.untouched(block) || Zeroes.only(buffer, 0, bytes);
  }
}
