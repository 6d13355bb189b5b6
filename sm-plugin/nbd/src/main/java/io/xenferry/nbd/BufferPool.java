package io.xenferry.nbd;

import java.nio.ByteBuffer;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Direct buffers in sizes of powers of two, with a budget for those in use: a server's requests
 * wait for memory instead of exhausting it.
 */
final class BufferPool {
  private static final int SMALLEST_SHIFT = 14;
  private static final int LARGEST_SHIFT = 25;
  private static final int KIB = 1024;

  private final int kibibytes;
  private final Semaphore budget;
  private final long keep;
  private final AtomicLong kept = new AtomicLong();
  private final ConcurrentLinkedQueue<ByteBuffer>[] free;

  /**
   * An empty pool.
   *
   * @param budget bytes in use at most; at least twice the largest buffer
   * @param keep bytes kept for later at most
   */
  @SuppressWarnings("unchecked")
  BufferPool(long budget, long keep) {
    kibibytes = (int) (budget / KIB);
    this.budget = new Semaphore(kibibytes, true);
    this.keep = keep;
    free = new ConcurrentLinkedQueue[LARGEST_SHIFT + 1];
    for (int i = 0; i <= LARGEST_SHIFT; i++) {
      free[i] = new ConcurrentLinkedQueue<>();
    }
  }

  /** Waits for the budget; the buffer's limit is {@code length}, at most 32 MiB. */
  ByteBuffer take(int length) throws InterruptedException {
    int shift = shiftFor(length);
    budget.acquire((1 << shift) / KIB);
    ByteBuffer buffer = free[shift].poll();
    if (buffer == null) {
      try {
        buffer = ByteBuffer.allocateDirect(1 << shift);
      } catch (OutOfMemoryError e) {
        budget.release((1 << shift) / KIB);
        throw e;
      }
    } else {
      kept.addAndGet(-buffer.capacity());
    }
    return buffer.clear().limit(length);
  }

  /** Bytes that have been taken and not been given back. */
  long inUse() {
    return (long) (kibibytes - budget.availablePermits()) * KIB;
  }

  /** Gives back what {@link #take} answered, not a slice of it. */
  void give(ByteBuffer buffer) {
    if (kept.get() + buffer.capacity() <= keep) {
      kept.addAndGet(buffer.capacity());
      free[shiftFor(buffer.capacity())].add(buffer);
    }
    budget.release(buffer.capacity() / KIB);
  }

  private static int shiftFor(int length) {
    return Math.max(SMALLEST_SHIFT, Integer.SIZE - Integer.numberOfLeadingZeros(length - 1));
  }
}
