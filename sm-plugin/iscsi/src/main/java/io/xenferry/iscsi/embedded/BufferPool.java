package io.xenferry.iscsi.embedded;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Direct buffers for the data of commands, with a limit over all connections, and one for each of
 * them; who gets none answers TASK SET FULL. Confined to the loop.
 */
final class BufferPool {
  private static final int SMALLEST = 12;
  private static final int LARGEST = 25;
  private static final int KEPT = 16;

  /** Larger than what initiators are asked to keep to: rare, and not kept. */
  private static final int LARGEST_KEPT = 22;

  private final @Nullable BufferPool source;
  private final long limit;
  private long used;

  /** By the power of two of their size; those of a part are with the whole. */
  private final List<ArrayDeque<ByteBuffer>> spare = new ArrayList<>();

  BufferPool(long limit) {
    this.source = null;
    this.limit = limit;
    for (int i = 0; i <= LARGEST; i++) {
      spare.add(new ArrayDeque<>());
    }
  }

  private BufferPool(BufferPool source, long limit) {
    this.source = source;
    this.limit = limit;
  }

  /** Takes its buffers from this one, within a limit of its own. */
  BufferPool part(long itsLimit) {
    return new BufferPool(this, itsLimit);
  }

  /** Bytes that are out. */
  long used() {
    return used;
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
    ByteBuffer buffer = source == null ? fresh(size) : source.take(length);
    if (buffer != null) {
      used += 1L << size;
      buffer.clear().limit(length);
    }
    return buffer;
  }

  private ByteBuffer fresh(int size) {
    ByteBuffer buffer = spare.get(size).poll();
    return buffer == null ? ByteBuffer.allocateDirect(1 << size) : buffer;
  }

  void give(ByteBuffer buffer) {
    int size = sizeClass(buffer.capacity());
    used -= 1L << size;
    if (source != null) {
      source.give(buffer);
    } else if (size <= LARGEST_KEPT && spare.get(size).size() < KEPT) {
      spare.get(size).add(buffer);
    }
  }
}
