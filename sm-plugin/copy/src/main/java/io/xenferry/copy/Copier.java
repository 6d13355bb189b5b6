package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockDigests;
import io.xenferry.block.BlockException;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
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
    if (transfer.hole) {
      transfer.readDone = transfer.readIssued;
      Destination to = point.destination();
      if (to == null || !point.mayWrite(transfer)) {
        finish(transfer, false);
        return;
      }
      transfer.issued = transfer.readIssued;
      point.watch();
      digestZeroes(transfer.firstBlock, transfer.endBlock);
      transfer.bytesZeroed = transfer.length;
      transfer.destinationWrites = 1;
      point.sending(transfer.firstBlock, transfer.endBlock);
      to.backend()
          .zero(transfer.offset, transfer.length)
          .whenComplete((ok, failure) -> scheduler.execute(() -> wrote(transfer, failure)));
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
        failure -> read(transfer, buffer, skipZeroes, failure));
  }

  private void read(
      Transfer transfer, ByteBuffer buffer, boolean skipZeroes, @Nullable Throwable failure) {
    transfer.readDone = scheduler.nanoTime();
    point.afterRead(transfer);
    transfer.sourceFailure = CopyException.blockFailureOrNull(failure);
    Destination to = point.destination();
    if (failure != null || transfer.finished || to == null || !point.mayWrite(transfer)) {
      finish(transfer, false);
      return;
    }
    transfer.bytesRead = transfer.length;
    write(transfer, to.backend(), buffer, skipZeroes);
  }

  /** Sends the blocks in runs of data and runs of zeroes. */
  private void write(Transfer transfer, BlockBackend to, ByteBuffer buffer, boolean skipZeroes) {
    transfer.issued = transfer.readDone;
    transfer.destinationWrites = 1; // held until all runs are issued
    point.watch();
    int first = transfer.firstBlock;
    while (first < transfer.endBlock) {
      What what = look(transfer, buffer, first, skipZeroes);
      int end = first + 1;
      while (end < transfer.endBlock && look(transfer, buffer, end, skipZeroes) == what) {
        end++;
      }
      int from = (int) (map.offset(first) - transfer.offset);
      int length = (int) map.bytes(first, end);
      switch (what) {
        case SKIP -> {
          transfer.bytesSkipped += length;
          digestZeroes(first, end);
        }
        case ZERO -> {
          transfer.bytesZeroed += length;
          transfer.destinationWrites++;
          point.sending(first, end);
          digestZeroes(first, end);
          to.zero(map.offset(first), padding(to, buffer, map.offset(first), from, length))
              .whenComplete((ok, failure) -> scheduler.execute(() -> wrote(transfer, failure)));
        }
        case DATA -> {
          transfer.bytesSent += length;
          transfer.destinationWrites++;
          point.sending(first, end);
          digest(buffer, from, first, end);
          long offset = map.offset(first);
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
    SKIP
  }

  private What look(Transfer transfer, ByteBuffer buffer, int block, boolean skipZeroes) {
    int from = (int) (map.offset(block) - transfer.offset);
    if (!Zeroes.only(buffer, from, (int) map.bytes(block, block + 1))) {
      return What.DATA;
    }
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

  private void digest(ByteBuffer buffer, int from, int first, int end) {
    BlockDigests digests = point.digests();
    if (digests != null) {
      for (int block = first; block < end; block++) {
        int at = from + (int) (map.offset(block) - map.offset(first));
        digests.put(block, BlockDigests.digest(buffer, at, at + (int) map.bytes(block, block + 1)));
      }
    }
  }

  private void digestZeroes(int first, int end) {
    BlockDigests digests = point.digests();
    if (digests != null) {
      for (int block = first; block < end; block++) {
        digests.put(block, Zeroes.digest((int) map.bytes(block, block + 1)));
      }
    }
  }
}
