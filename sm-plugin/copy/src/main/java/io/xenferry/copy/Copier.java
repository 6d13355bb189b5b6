package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.copy.Comparison.Held;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What happens to a locked run of blocks: read, look for zeroes, write, unlock. Confined to the
 * scheduler of its write-ordering point.
 */
final class Copier {
  private final WriteOrderingPoint point;
  private final BlockMap map;
  private final Scheduler scheduler;

  Copier(WriteOrderingPoint point, BlockMap map, Scheduler scheduler) {
    this.point = point;
    this.map = map;
    this.scheduler = scheduler;
  }

  void send(
      Transfer transfer,
      BlockBackend content,
      ByteBuffer buffer,
      boolean skipZeroes,
      Runnable done) {
    transfer.done = done;
    transfer.readIssued = scheduler.nanoTime();
    Comparison comparison = point.comparison();
    CompletableFuture<Held> held =
        comparison == null
            ? CompletableFuture.completedFuture(Held.UNKNOWN)
            : comparison.ask(transfer.firstBlock, transfer.endBlock);
    if (transfer.hole) {
      transfer.readDone = transfer.readIssued;
      onceTold(held, there -> sendHole(transfer, there));
      return;
    }
    int length = (int) transfer.length;
    int padded =
        (int) Math.min(roundUp(length, content.alignment()), content.size() - transfer.offset);
    Requests.inPieces(
        content.maxTransfer(),
        padded,
        scheduler,
        (at, bytes) -> content.read(transfer.offset + at, buffer.slice(at, bytes)),
        failure -> {
          transfer.readDone = scheduler.nanoTime();
          onceTold(held, there -> read(transfer, buffer, skipZeroes, there, failure));
        });
  }

  /** On the scheduler, which hears of what goes wrong there; a future would keep it to itself. */
  private void onceTold(CompletableFuture<Held> held, Consumer<Held> next) {
    if (held.isDone()) {
      next.accept(held.join());
    } else {
      held.thenAccept(there -> scheduler.execute(() -> next.accept(there)));
    }
  }

  private void sendHole(Transfer transfer, Held there) {
    Destination to = point.destination();
    if (transfer.finished || to == null || !point.mayWrite(transfer)) {
      finish(transfer, false);
      return;
    }
    if (allZeroes(transfer, there)) {
      for (int block = transfer.firstBlock; block < transfer.endBlock; block++) {
        point.unverified().same(block);
      }
      transfer.bytesSaved = transfer.length;
      finish(transfer, true);
      return;
    }
    transfer.issued = scheduler.nanoTime();
    point.watch();
    for (int block = transfer.firstBlock; block < transfer.endBlock; block++) {
      if (point.unverified().wants(block)) {
        point.unverified().hashes().putZeroes(block, block + 1);
      }
    }
    transfer.bytesZeroed = transfer.length;
    transfer.destinationWrites = 1;
    point.sending(transfer.firstBlock, transfer.endBlock);
    to.backend()
        .zero(transfer.offset, transfer.length)
        .whenComplete((ok, failure) -> scheduler.execute(() -> wrote(transfer, failure)));
  }

  private static boolean allZeroes(Transfer transfer, Held there) {
    for (int block = transfer.firstBlock; block < transfer.endBlock; block++) {
      if (!there.holds(block, Optional.empty())) {
        return false;
      }
    }
    return true;
  }

  private void read(
      Transfer transfer,
      ByteBuffer buffer,
      boolean skipZeroes,
      Held there,
      @Nullable Throwable failure) {
    point.afterRead(transfer);
    transfer.sourceFailure = CopyException.blockFailureOrNull(failure);
    Destination to = point.destination();
    if (failure != null || transfer.finished || to == null || !point.mayWrite(transfer)) {
      finish(transfer, false);
      return;
    }
    transfer.bytesRead = transfer.length;
    What[] what = new What[transfer.endBlock - transfer.firstBlock];
    for (int i = 0; i < what.length; i++) {
      what[i] = look(transfer, buffer, transfer.firstBlock + i, skipZeroes, there);
    }
    write(transfer, to.backend(), buffer, what);
  }

  /** Sends the blocks in runs of data and runs of zeroes. */
  private void write(Transfer transfer, BlockBackend to, ByteBuffer buffer, What[] what) {
    transfer.issued = scheduler.nanoTime();
    transfer.destinationWrites = 1; // held until all runs are issued
    point.watch();
    int first = transfer.firstBlock;
    while (first < transfer.endBlock) {
      What kind = what[first - transfer.firstBlock];
      int end = first + 1;
      while (end < transfer.endBlock && what[end - transfer.firstBlock] == kind) {
        end++;
      }
      long offset = map.offset(first);
      int from = (int) (offset - transfer.offset);
      int length = (int) map.bytes(first, end);
      switch (kind) {
        case SKIP -> transfer.bytesSkipped += length;
        case SAME -> transfer.bytesSaved += length;
        case ZERO -> {
          transfer.bytesZeroed += length;
          transfer.destinationWrites++;
          point.sending(first, end);
          to.zero(offset, padding(to, buffer, offset, from, length))
              .whenComplete((ok, failure) -> scheduler.execute(() -> wrote(transfer, failure)));
        }
        case DATA -> {
          transfer.bytesSent += length;
          transfer.destinationWrites++;
          point.sending(first, end);
          int padded = padding(to, buffer, offset, from, length);
          Requests.inPieces(
              to.maxTransfer(),
              padded,
              scheduler,
              (at, bytes) -> to.write(offset + at, buffer.slice(from + at, bytes)),
              failure -> wrote(transfer, failure));
        }
      }
      first = end;
    }
    wrote(transfer, null);
  }

  private enum What {
    DATA,
    ZERO,
    SKIP,
    /** The destination holds it already. */
    SAME
  }

  private What look(
      Transfer transfer, ByteBuffer buffer, int block, boolean skipZeroes, Held there) {
    int from = (int) (map.offset(block) - transfer.offset);
    int length = (int) map.bytes(block, block + 1);
    boolean zero = Zeroes.only(buffer, from, length);
    if (there.told(block) && there.holds(block, Digest.SHA_256.of(buffer, from, length, zero))) {
      point.unverified().same(block);
      return What.SAME;
    }
    if (point.unverified().wants(block)) {
      point.unverified().hashes().put(block, Digest.CHECKSUM.of(buffer, from, length, zero));
    }
    return zero ? zeroes(block, skipZeroes) : What.DATA;
  }

  private What zeroes(int block, boolean skipZeroes) {
    return skipZeroes && point.untouched(block) ? What.SKIP : What.ZERO;
  }

  private void wrote(Transfer transfer, @Nullable Throwable failure) {
    transfer.destinationWrites--;
    if (failure != null && transfer.destinationFailure == null) {
      transfer.destinationFailure = CopyException.blockFailure(failure);
    }
    if (transfer.destinationWrites == 0) {
      transfer.writeNanos = scheduler.nanoTime() - transfer.issued;
      BlockException failed = transfer.destinationFailure;
      if (transfer.lost) {
        point.forget(transfer);
        return;
      }
      finish(transfer, failed == null);
      if (failed != null) {
        point.destinationFailed(failed);
      }
    } else if (failure != null && !transfer.lost) {
      // The rest may never complete: tell at once that the destination is gone.
      point.destinationFailed(CopyException.blockFailure(failure));
    }
  }

  /** The destination was lost: the run is dirty again, whatever becomes of its writes. */
  void lost(Transfer transfer) {
    if (!transfer.finished) {
      transfer.lost = true;
      finish(transfer, false);
    }
  }

  private void finish(Transfer transfer, boolean arrived) {
    if (transfer.finished) {
      return;
    }
    point.unlock(transfer, arrived);
    Runnable done = transfer.done;
    if (done != null) {
      scheduler.execute(done);
    }
  }

  /** Zeroes behind the last block where the destination's own blocks are larger than its rest. */
  private static int padding(
      BlockBackend to, ByteBuffer buffer, long offset, int from, int length) {
    int padded = (int) Math.min(roundUp(length, to.alignment()), to.size() - offset);
    for (int at = length; at < padded; at++) {
      buffer.put(from + at, (byte) 0);
    }
    return padded;
  }

  private static long roundUp(int length, int alignment) {
    return ((long) length + alignment - 1) / alignment * alignment;
  }
}
