package io.xenferry.block;

import java.util.ArrayList;
import java.util.List;

/**
 * A stretch of a disk.
 *
 * @param offset first byte, 0 or more
 * @param length bytes, 1 or more
 */
public record Range(long offset, long length) {
  public Range {
    if (offset < 0 || length <= 0 || offset + length < 0) {
      throw new IllegalArgumentException("range " + offset + "+" + length);
    }
  }

  /** The first byte after the range. */
  public long end() {
    return offset + length;
  }

  public boolean overlaps(Range other) {
    return offset < other.end() && other.offset < end();
  }

  /**
   * What a disk has beside some ranges.
   *
   * @param ranges in ascending order
   * @param size bytes of the disk
   */
  public static List<Range> gaps(List<Range> ranges, long size) {
    List<Range> gaps = new ArrayList<>();
    long at = 0;
    for (Range range : ranges) {
      if (range.offset() > at) {
        gaps.add(new Range(at, range.offset() - at));
      }
      at = Math.max(at, range.end());
    }
    if (at < size) {
      gaps.add(new Range(at, size - at));
    }
    return gaps;
  }
}
