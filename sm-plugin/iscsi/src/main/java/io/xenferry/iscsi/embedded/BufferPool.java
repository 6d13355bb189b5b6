package io.xenferry.iscsi.embedded;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * Direct buffers for the data of commands, with a limit over all connections; who gets none answers
 * TASK SET FULL. Confined to the loop.
 */
final class BufferPool {
  private static final int SMALLEST = 12;
  private static final int LARGEST = 22;
  private static final int KEPT = 16;

  private final long limit;
  private long used;
  private final ArrayDeque<ByteBuffer>[] spare;

  @SuppressWarnings("unchecked")
  BufferPool(long limit) {
    this.limit = limit;
    this.spare = new ArrayDeque[LARGEST + 1];
    for (int i = 0; i <= LARGEST; i++) {
      spare[i] = new ArrayDeque<>();
    }
  }

  private static int sizeClass(int length) {
    return Math.max(SMALLEST, 32 - Integer.numberOfLeadingZeros(Math.max(1, length) - 1));
  }

  /** A buffer whose limit is the length, or null when the limit is reached. */
  @Nullable ByteBuffer take(int length) {
    int size = sizeClass(length);
    if (size > LARGEST || used + (1L << size) > limit) {
      return null;
    }
    used += 1L << size;
    ByteBuffer buffer = spare[size].poll();
    return (buffer == null ? ByteBuffer.allocateDirect(1 << size) : buffer).clear().limit(length);
  }

  void give(ByteBuffer buffer) {
    int size = sizeClass(buffer.capacity());
    used -= 1L << size;
    if (spare[size].size() < KEPT) {
      spare[size].add(buffer);
    }
  }
}
