package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.Range;
import io.xenferry.block.ZeroScan;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;

/**
 * Copies a volume that nobody writes. Holes stay holes; where the source has zeroes and the
 * destination may hold something, zeroes are written.
 */
final class VolumeCopy {
  private static final int STEP = 1 << 20;
  private static final int DEPTH = 8;

  /** So much is looked at at once; bounds how many extents are held. */
  private static final long WINDOW = 1L << 30;

  private static final long PATIENCE_MILLIS = 120_000;

  private final String what;
  private final BlockBackend from;
  private final BlockBackend to;
  private final Progress progress;
  private final DataCursor content;
  private final DataCursor leftovers;
  private final ArrayDeque<CompletableFuture<Void>> running = new ArrayDeque<>();
  private final ArrayDeque<ByteBuffer> free = new ArrayDeque<>();

  private VolumeCopy(String what, BlockBackend from, BlockBackend to, Progress progress) {
    this.what = what;
    this.from = from;
    this.to = to;
    this.progress = progress;
    this.content = new DataCursor(from, PATIENCE_MILLIS);
    this.leftovers = new DataCursor(to, PATIENCE_MILLIS);
  }

  /**
   * Copies and flushes; blocks.
   *
   * @param to at least as large; what it has beyond stays as it is
   * @throws SmapiException Cancelled
   */
  static void copy(String what, BlockBackend from, BlockBackend to, Progress progress)
      throws BlockException, SmapiException, InterruptedException {
    VolumeCopy copy = new VolumeCopy(what, from, to, progress);
    try {
      copy.run();
    } finally {
      // The buffers are direct memory of requests in flight: wait before they are forgotten.
      copy.running.forEach(r -> r.handle((done, failure) -> done).join());
    }
    BlockRequests.await(to.flush(), PATIENCE_MILLIS);
    progress.report(1);
  }

  private void run() throws BlockException, SmapiException, InterruptedException {
    int step = Math.min(STEP, Math.min(from.maxTransfer(), to.maxTransfer()));
    long size = from.size();
    for (long at = 0; at < size; ) {
      long end = Math.min(size, at + WINDOW);
      long done = at;
      for (Range data : content.dataIn(at, end)) {
        erase(done, data.offset());
        for (long p = data.offset(); p < data.end(); p += step) {
          move(p, (int) Math.min(step, data.end() - p));
          progress.report((double) p / size);
        }
        done = data.end();
      }
      erase(done, end);
      at = end;
    }
    while (!running.isEmpty()) {
      BlockRequests.await(running.remove(), PATIENCE_MILLIS);
    }
  }

  /** The source has zeroes here. */
  private void erase(long begin, long end)
      throws BlockException, SmapiException, InterruptedException {
    if (begin < end) {
      for (Range range : leftovers.dataIn(begin, end)) {
        waitForRoom();
        running.add(to.zero(range.offset(), range.length()));
      }
      waitForRoom();
    }
  }

  private void move(long at, int length)
      throws BlockException, SmapiException, InterruptedException {
    boolean empty = leftovers.dataIn(at, at + length).isEmpty();
    waitForRoom();
    ByteBuffer buffer = takeBuffer(length);
    running.add(
        from.read(at, buffer.duplicate())
            .thenCompose(read -> {
              if (!ZeroScan.isZero(buffer)) {
                return to.write(at, buffer.duplicate());
              }
              return empty ? CompletableFuture.completedFuture(null) : to.zero(at, length);
            })
            .thenRun(() -> giveBack(buffer)));
  }

  private ByteBuffer takeBuffer(int length) {
    synchronized (free) {
      ByteBuffer buffer = free.isEmpty() ? ByteBuffer.allocateDirect(STEP) : free.remove();
      return buffer.clear().limit(length);
    }
  }

  private void giveBack(ByteBuffer buffer) {
    synchronized (free) {
      free.add(buffer);
    }
  }

  private void waitForRoom() throws BlockException, SmapiException, InterruptedException {
    if (progress.isCancelled() || Thread.currentThread().isInterrupted()) {
      throw SmapiException.cancelled(what);
    }
    while (running.size() >= DEPTH) {
      BlockRequests.await(running.remove(), PATIENCE_MILLIS);
    }
  }
}
