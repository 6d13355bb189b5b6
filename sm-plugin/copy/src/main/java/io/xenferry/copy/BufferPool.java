package io.xenferry.copy;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Buffers of one size, at most so many at a time for the whole engine. Whoever finds none is told
 * when one is kept for it: of those who wait, whoever has the fewest, so that all come to have as
 * many, whoever came first. Thread-safe; never blocks.
 */
final class BufferPool {
  private final int bufferSize;
  private final int limit;
  private final IntFunction<ByteBuffer> maker;
  private final Deque<ByteBuffer> free = new ArrayDeque<>();

  /** In order of their coming. While anyone waits no buffer is to be had for others. */
  private final Set<Share> waiting = new LinkedHashSet<>();

  /** With those that are kept for somebody. */
  private int out;

  /**
   * @param memory bytes for all buffers together; one buffer is always allowed
   * @param maker of a buffer of so many bytes
   */
  BufferPool(int bufferSize, long memory, IntFunction<ByteBuffer> maker) {
    this.bufferSize = bufferSize;
    this.maker = maker;
    this.limit = (int) Math.max(1, Math.min(memory / bufferSize, 1 << 16));
  }

  int bufferSize() {
    return bufferSize;
  }

  /** The buffers of one disk. */
  Share share() {
    return new Share();
  }

  synchronized int inUse() {
    return out;
  }

  /** Of one disk. */
  final class Share {
    private int mine;
    private boolean kept;
    private @Nullable Runnable whenKept;

    /**
     * A cleared buffer, or null; then {@code whenKept} is called once, on any thread, when one is
     * kept for the next call.
     */
    @Nullable ByteBuffer acquire(Runnable whenKept) {
      synchronized (BufferPool.this) {
        if (kept) {
          kept = false;
        } else if (out < limit) {
          out++;
        } else {
          this.whenKept = whenKept;
          waiting.add(this);
          return null;
        }
        mine++;
        ByteBuffer buffer = free.pollFirst();
        return buffer == null ? maker.apply(bufferSize) : buffer.clear();
      }
    }

    void release(ByteBuffer buffer) {
      giveBack(buffer);
    }

    /** Gives back the permit of a buffer that may still be read or written by a dead request. */
    void discard() {
      giveBack(null);
    }

    private void giveBack(@Nullable ByteBuffer buffer) {
      Runnable next;
      synchronized (BufferPool.this) {
        mine--;
        if (buffer != null) {
          free.addFirst(buffer);
        }
        next = passOn();
      }
      next.run();
    }

    /** None is needed now: what was kept, or is about to be, is for others. */
    void waitNoMore() {
      Runnable next = () -> {};
      synchronized (BufferPool.this) {
        waiting.remove(this);
        if (kept) {
          kept = false;
          next = passOn();
        }
      }
      next.run();
    }
  }

  /** One permit is free: keeps it for whoever has the fewest buffers of those who wait. */
  private Runnable passOn() {
    Share next = null;
    for (Share share : waiting) {
      if (next == null || share.mine < next.mine) {
        next = share;
      }
    }
    if (next == null || next.whenKept == null) {
      out--;
      return () -> {};
    }
    waiting.remove(next);
    next.kept = true;
    return next.whenKept;
  }
}
