package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Reads a frozen, drained disk back from its destination and compares each block with the checksum
 * of what was sent; a block that was never written with zeroes. One block at a time: meant for the
 * last dirty set, and for those who want certainty more than speed.
 */
final class Verification {
  private final DiskCopy disk;
  private final BlockBackend destination;
  private final BitSet blocks;
  private final Scheduler scheduler;
  private final ByteBuffer buffer;
  private final CompletableFuture<Void> result = new CompletableFuture<>();

  private Verification(
      DiskCopy disk, BlockBackend destination, BitSet blocks, Scheduler scheduler) {
    this.disk = disk;
    this.destination = destination;
    this.blocks = blocks;
    this.scheduler = scheduler;
    this.buffer = ByteBuffer.allocateDirect(disk.point.map().blockSize());
  }

  static CompletableFuture<Void> of(
      List<DiskCopy> disks, CopyOptions.Verify verify, Scheduler scheduler) {
    if (verify == CopyOptions.Verify.NOTHING) {
      return CompletableFuture.completedFuture(null);
    }
    return CompletableFuture.allOf(
        disks.stream()
            .map(disk -> {
              BitSet blocks = (BitSet) disk.sentInDrain().clone();
              if (verify == CopyOptions.Verify.EVERYTHING) {
                blocks.set(0, disk.point.map().count());
              }
              return disk.destination()
                  .map(backend -> {
                    Verification one = new Verification(disk, backend, blocks, scheduler);
                    one.next(0);
                    return one.result;
                  })
                  .orElseGet(() ->
                      CompletableFuture.failedFuture(
                          new BlockException(
                              BlockException.Kind.LOST, "lost before it was verified")));
            })
            .toArray(CompletableFuture[]::new));
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
    int block = blocks.nextSetBit(from);
    if (block < 0) {
      result.complete(null);
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
    destination
        .read(map.offset(block), buffer.clear().limit(padded))
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              if (failure != null) {
                result.completeExceptionally(failure);
              } else if (matches(block, bytes)) {
                next(block + 1);
              } else {
                result.completeExceptionally(
                    new CopyException(
                        CopyException.Kind.VERIFY,
                        "%s: block %d at byte %d is not what was sent"
                            .formatted(disk.name(), block, map.offset(block))));
              }
            }));
  }

  private boolean matches(int block, int bytes) {
    buffer.clear();
    BlockDigests digests = disk.point.digests();
    if (digests != null && digests.knows(block)) {
      return digests.matches(block, digests.of(buffer, 0, bytes));
    }
    // Never written: must still be zeroes. Else a mirrored write was the last, and only the flush
    // vouches for it.
    return !disk.point.untouched(block) || Zeroes.only(buffer, 0, bytes);
  }
}
