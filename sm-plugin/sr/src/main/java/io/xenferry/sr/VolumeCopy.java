package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.Range;
import io.xenferry.block.ZeroScan;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * Copies a volume that nobody writes, or what it has otherwise than a base. Holes stay holes; where
 * the source has zeroes and the destination may hold something, zeroes are written.
 */
final class VolumeCopy {
  private static final int STEP = 1 << 20;
  private static final int DEPTH = 8;

  /** So much is looked at at once; bounds how many extents are held. */
  private static final long WINDOW = 1L << 30;

  private static final long PATIENCE_MILLIS = 120_000;

  private static final CompletableFuture<Void> NOTHING = CompletableFuture.completedFuture(null);

  private final String what;
  private final BlockBackend from;
  private final Optional<BlockBackend> base;
  private final BlockBackend to;
  private final Progress progress;
  private final DataCursor content;
  private final DataCursor leftovers;
  private final ArrayDeque<CompletableFuture<Void>> running = new ArrayDeque<>();
  private final ArrayDeque<ByteBuffer> free = new ArrayDeque<>();

  private VolumeCopy(
      String what,
      BlockBackend from,
      Optional<BlockBackend> base,
      BlockBackend to,
      Progress progress) {
    this.what = what;
    this.from = from;
    this.base = base;
    this.to = to;
    this.progress = progress;
    this.content = new DataCursor(from, PATIENCE_MILLIS);
    this.leftovers = new DataCursor(to, PATIENCE_MILLIS);
  }

  /**
   * Copies and flushes; blocks.
   *
   * @param base what is the same there is left as it is in the destination; empty copies everything
   * @param to at least as large; what it has beyond stays as it is
   * @throws SmapiException Cancelled
   */
  static void copy(
      String what,
      BlockBackend from,
      Optional<BlockBackend> base,
      BlockBackend to,
      Progress progress)
      throws BlockException, SmapiException, InterruptedException {
    VolumeCopy copy = new VolumeCopy(what, from, base, to, progress);
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
    long shared = 0;
    if (base.isPresent()) {
      shared = Math.min(size, base.get().size());
      compare(base.get(), shared, Math.min(step, base.get().maxTransfer()));
    }
    for (long at = shared; at < size; ) {
      long end = Math.min(size, at + WINDOW);
      long done = at;
      for (Range data : content.dataIn(at, end)) {
        erase(done, data.offset());
        for (long p = data.offset(); p < data.end(); p += step) {
          move(p, (int) Math.min(step, data.end() - p), Optional.empty());
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

  /** Where neither has anything they are the same. */
  private void compare(BlockBackend with, long size, int step)
      throws BlockException, SmapiException, InterruptedException {
    DataCursor there = new DataCursor(with, PATIENCE_MILLIS);
    for (long at = 0; at < size; ) {
      long end = Math.min(size, at + WINDOW);
      List<Range> data = new ArrayList<>(content.dataIn(at, end));
      data.addAll(there.dataIn(at, end));
      data.sort(Comparator.comparingLong(Range::offset));
      long done = at;
      for (Range range : data) {
        for (long p = Math.max(done, range.offset()); p < range.end(); p += step) {
          move(p, (int) Math.min(step, range.end() - p), Optional.of(with));
          progress.report((double) p / from.size());
        }
        done = Math.max(done, range.end());
      }
      at = end;
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

  private void move(long at, int length, Optional<BlockBackend> unlike)
      throws BlockException, SmapiException, InterruptedException {
    boolean empty = leftovers.dataIn(at, at + length).isEmpty();
    waitForRoom();
    ByteBuffer buffer = takeBuffer(length);
    running.add(
        from.read(at, buffer.duplicate())
            .thenCompose(read -> isSame(at, buffer, unlike))
            .thenCompose(same -> same ? NOTHING : put(at, buffer, empty))
            .thenRun(() -> giveBack(buffer)));
  }

  private CompletableFuture<Boolean> isSame(
      long at, ByteBuffer buffer, Optional<BlockBackend> unlike) {
    if (unlike.isEmpty()) {
      return CompletableFuture.completedFuture(false);
    }
    ByteBuffer other = takeBuffer(buffer.remaining());
    return unlike
        .get()
        .read(at, other.duplicate())
        .thenApply(read -> {
          boolean same = other.equals(buffer);
          giveBack(other);
          return same;
        });
  }

  private CompletableFuture<Void> put(long at, ByteBuffer buffer, boolean empty) {
    if (!ZeroScan.isZero(buffer)) {
      return to.write(at, buffer.duplicate());
    }
    return empty ? NOTHING : to.zero(at, buffer.remaining());
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
