package io.xenferry.copy;

import io.xenferry.block.Range;

/**
 * How a disk is divided into the blocks that the dirty log counts.
 *
 * @param size of the disk in bytes, 1 or more
 * @param blockSize bytes, a power of two; the last block may be shorter
 */
public record BlockMap(long size, int blockSize) {
  /** 64 KiB: QEMU's granularity; a bit for it costs 2 MiB of log per TiB. */
  public static final int DEFAULT_BLOCK_SIZE = 64 << 10;

  /** Bounds the memory for one disk's books to some tens of MiB, digests included. */
  private static final int MAX_BLOCKS = 1 << 24;

  public BlockMap {
    if (size <= 0 || Integer.bitCount(blockSize) != 1) {
      throw new IllegalArgumentException("size " + size + ", block size " + blockSize);
    }
    if ((size - 1) / blockSize >= Integer.MAX_VALUE - 1) {
      throw new IllegalArgumentException("too many blocks");
    }
  }

  /** The default division: 64 KiB, and larger from 1 TiB on. */
  public static BlockMap of(long size) {
    int blockSize = DEFAULT_BLOCK_SIZE;
    while ((size - 1) / blockSize >= MAX_BLOCKS) {
      blockSize <<= 1;
    }
    return new BlockMap(size, blockSize);
  }

  /** Number of blocks. */
  public int count() {
    return (int) ((size - 1) / blockSize) + 1;
  }

  /** The block that holds the byte. */
  public int blockOf(long offset) {
    return (int) (offset / blockSize);
  }

  /** The first block that begins at or after the byte. */
  public int blockFrom(long offset) {
    return (int) ((offset + blockSize - 1) / blockSize);
  }

  public int first(Range range) {
    return blockOf(range.offset());
  }

  /** One past the last block that the range touches. */
  public int end(Range range) {
    return blockFrom(range.end());
  }

  /** First byte of the block. */
  public long offset(int block) {
    return (long) block * blockSize;
  }

  /** Bytes of the blocks from {@code first} up to {@code end}, the latter excluded. */
  public long bytes(int first, int end) {
    return Math.min(size, offset(end)) - offset(first);
  }

  void check(long offset, long length) {
    if (offset < 0 || length < 0 || length > size - offset) {
      throw new IndexOutOfBoundsException(offset + "+" + length + " of " + size);
    }
  }
}
