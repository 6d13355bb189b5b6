package io.xenferry.guest;

import io.xenferry.block.Range;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/** Which parts of a disk were written, as QEMU's dirty bitmaps. Guarded by its disk. */
final class DirtyBitmap {
  static final int GRANULARITY = 64 << 10;

  final String name;
  private final long size;
  private final BitSet dirty = new BitSet();
  boolean recording = true;

  /** On an export: may be neither changed nor removed. */
  boolean busy;

  DirtyBitmap(String name, long size) {
    this.name = name;
    this.size = size;
  }

  void mark(long offset, long length) {
    if (recording) {
      dirty.set((int) (offset / GRANULARITY), (int) ((offset + length - 1) / GRANULARITY) + 1);
    }
  }

  void clear() {
    dirty.clear();
  }

  void merge(DirtyBitmap other) {
    dirty.or(other.dirty);
  }

  long count() {
    long bytes = (long) dirty.cardinality() * GRANULARITY;
    long beyond = dirty.isEmpty() ? 0 : (long) dirty.length() * GRANULARITY - size;
    return bytes - Math.max(0, beyond);
  }

  List<Range> ranges() {
    List<Range> ranges = new ArrayList<>();
    for (int from = dirty.nextSetBit(0); from >= 0; ) {
      int to = dirty.nextClearBit(from);
      long start = (long) from * GRANULARITY;
      ranges.add(new Range(start, Math.min(size, (long) to * GRANULARITY) - start));
      from = dirty.nextSetBit(to);
    }
    return ranges;
  }
}
