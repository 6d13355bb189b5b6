package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.Extent;
import io.xenferry.block.ZeroScan;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;

/** Copies a volume that nobody writes to one that reads as zeroes; holes stay holes. */
final class VolumeCopy {
  private static final int STEP = 1 << 20;
  private static final int DEPTH = 8;
  private static final long PATIENCE_MILLIS = 120_000;

  private VolumeCopy() {}

  /**
   * Copies and flushes; blocks.
   *
   * @throws SmapiException Cancelled
   */
  static void copy(String what, BlockBackend from, BlockBackend to, Progress progress)
      throws BlockException, SmapiException, InterruptedException {
    int step = Math.min(STEP, Math.min(from.maxTransfer(), to.maxTransfer()));
    ArrayDeque<CompletableFuture<ByteBuffer>> running = new ArrayDeque<>();
    ArrayDeque<ByteBuffer> free = new ArrayDeque<>();
    long size = from.size();
    long at = 0;
    try {
      while (at < size) {
        for (Extent extent : BlockRequests.await(from.extents(at, size - at), PATIENCE_MILLIS)) {
          for (long p = extent.offset(); !extent.zero() && p < extent.end(); p += step) {
            stopIfUnwanted(what, progress);
            if (running.size() == DEPTH) {
              free.add(BlockRequests.await(running.remove(), PATIENCE_MILLIS));
            }
            ByteBuffer buffer = free.isEmpty() ? ByteBuffer.allocateDirect(step) : free.remove();
            int n = (int) Math.min(step, extent.end() - p);
            running.add(move(from, to, p, buffer.clear().limit(n)));
            progress.report((double) p / size);
          }
          at = extent.end();
        }
        stopIfUnwanted(what, progress);
      }
      while (!running.isEmpty()) {
        BlockRequests.await(running.remove(), PATIENCE_MILLIS);
      }
    } finally {
      // The buffers are direct memory of requests in flight: wait before they are forgotten.
      running.forEach(r -> r.exceptionally(e -> ByteBuffer.allocate(0)).join());
    }
    BlockRequests.await(to.flush(), PATIENCE_MILLIS);
    progress.report(1);
  }

  private static CompletableFuture<ByteBuffer> move(
      BlockBackend from, BlockBackend to, long at, ByteBuffer buffer) {
    return from.read(at, buffer.duplicate())
        .thenCompose(v ->
            ZeroScan.isZero(buffer)
                ? CompletableFuture.completedFuture(buffer)
                : to.write(at, buffer.duplicate()).thenApply(w -> buffer));
  }

  private static void stopIfUnwanted(String what, Progress progress) throws SmapiException {
    if (progress.isCancelled() || Thread.currentThread().isInterrupted()) {
      throw SmapiException.cancelled(what);
    }
  }
}
