package io.xenferry.copy;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Queue;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Buffers of one size, at most so many at a time for the whole engine. Whoever finds none is told
 * when one is free. Thread-safe; never blocks.
 */
final class BufferPool {
  private final int bufferSize;
  private final int limit;
  private final IntFunction<ByteBuffer> maker;
  private final Deque<ByteBuffer> free = new ArrayDeque<>();
  private final Queue<Runnable> waiting = new ArrayDeque<>();
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

  /** A cleared buffer, or null; then {@code whenFree} is called once, on any thread. */
  synchronized @Nullable ByteBuffer acquire(Runnable whenFree) {
    if (out >= limit) {
      waiting.add(whenFree);
      return null;
    }
    out++;
    ByteBuffer buffer = free.pollFirst();
    return buffer == null ? maker.apply(bufferSize) : buffer.clear();
  }

  void release(ByteBuffer buffer) {
    give(buffer);
  }

  /** Gives back the permit of a buffer that may still be read or written by a dead request. */
  void discard() {
    give(null);
  }

  private void give(@Nullable ByteBuffer buffer) {
    Runnable next;
    synchronized (this) {
      out--;
      if (buffer != null) {
        free.addFirst(buffer);
      }
      next = waiting.poll();
    }
    if (next != null) {
      next.run();
    }
  }

  synchronized int inUse() {
    return out;
  }
}
