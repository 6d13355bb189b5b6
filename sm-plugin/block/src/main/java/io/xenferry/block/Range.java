package io.xenferry.block;

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
}
