package io.xenferry.nbd;

import io.xenferry.block.Range;
import java.util.ArrayList;
import java.util.List;

/** What an export says of itself in a metadata context besides {@code base:allocation}. */
@FunctionalInterface
public interface BlockStatusSource {
  /**
   * Extents in order without gaps from {@code offset}; at least one, at most up to {@code offset +
   * length}. Must not block; called on any thread.
   */
  List<StatusExtent> status(long offset, long length);

  /**
   * A dirty bitmap as QEMU exports it.
   *
   * @param dirty ascending, not overlapping, fixed while the export lasts
   */
  static BlockStatusSource ofDirty(List<Range> dirty) {
    List<Range> ranges = List.copyOf(dirty);
    return (offset, length) -> {
      List<StatusExtent> extents = new ArrayList<>();
      long end = offset + length;
      long at = offset;
      for (int i = firstEndingAfter(ranges, offset);
          at < end && i < ranges.size() && extents.size() < ServerSession.MAX_EXTENTS;
          i++) {
        Range range = ranges.get(i);
        long from = Math.min(end, Math.max(at, range.offset()));
        if (from > at) {
          extents.add(new StatusExtent(at, from - at, 0));
        }
        at = Math.max(from, Math.min(end, range.end()));
        if (at > from) {
          extents.add(new StatusExtent(from, at - from, StatusExtent.DIRTY));
        }
      }
      if (at < end && extents.size() < ServerSession.MAX_EXTENTS) {
        extents.add(new StatusExtent(at, end - at, 0));
      }
      return extents;
    };
  }

  private static int firstEndingAfter(List<Range> ranges, long offset) {
    int low = 0;
    int high = ranges.size();
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (ranges.get(middle).end() <= offset) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
