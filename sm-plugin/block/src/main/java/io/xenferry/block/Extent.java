package io.xenferry.block;

/**
 * A stretch of a disk of one kind.
 *
 * @param offset first byte
 * @param length bytes, 1 or more
 * @param zero whether it is known to read as zeroes (a hole, or zeroes by the format's word); false
 *     means that it may hold data
 */
public record Extent(long offset, long length, boolean zero) {
  public Extent {
    if (offset < 0 || length <= 0) {
      throw new IllegalArgumentException("extent " + offset + "+" + length);
    }
  }

  public long end() {
    return offset + length;
  }
}
