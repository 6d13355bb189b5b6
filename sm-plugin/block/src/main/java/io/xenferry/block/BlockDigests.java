package io.xenferry.block;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.zip.CRC32C;

/**
 * CRC32C of each block of a disk, as far as it is known. Thread-safe.
 *
 * <p>Takes eight bytes a block where something is known, none elsewhere.
 */
public final class BlockDigests {
  private static final int PAGE = 1024;

  private final int blockSize;
  private final Map<Long, long[]> pages = new HashMap<>();

  /**
   * Nothing is known yet.
   *
   * @param blockSize bytes, a power of two
   */
  public BlockDigests(int blockSize) {
    if (Integer.bitCount(blockSize) != 1) {
      throw new IllegalArgumentException("block size " + blockSize);
    }
    this.blockSize = blockSize;
  }

  /** CRC32C of the bytes from {@code from} up to {@code to}; the buffer's position stays. */
  public static int digest(ByteBuffer buffer, int from, int to) {
    CRC32C crc = new CRC32C();
    crc.update(buffer.duplicate().position(from).limit(to));
    return (int) crc.getValue();
  }

  public int blockSize() {
    return blockSize;
  }

  public synchronized OptionalInt of(long block) {
    long[] page = pages.get(block / PAGE);
    long entry = page == null ? 0 : page[(int) (block % PAGE)];
    return entry == 0 ? OptionalInt.empty() : OptionalInt.of((int) entry);
  }

  public synchronized void put(long block, int crc) {
    // The bit above the checksum says that there is one.
    pages.computeIfAbsent(block / PAGE, k -> new long[PAGE])[(int) (block % PAGE)] =
        1L << 32 | Integer.toUnsignedLong(crc);
  }

  /** Forgets every block from {@code first} up to but without {@code end}. */
  public synchronized void forget(long first, long end) {
    if ((end - first) / PAGE > pages.size()) {
      pages.forEach((page, entries) -> forgetIn(page, entries, first, end));
    } else {
      for (long page = first / PAGE; page <= (end - 1) / PAGE && first < end; page++) {
        long[] entries = pages.get(page);
        if (entries != null) {
          forgetIn(page, entries, first, end);
        }
      }
    }
  }

  /** How many blocks are known. */
  public synchronized long known() {
    return pages.values().stream()
        .mapToLong(p -> java.util.Arrays.stream(p).filter(e -> e != 0).count())
        .sum();
  }

  /** The blocks that are known in both and differ, as ranges of bytes, ascending. */
  public List<Range> differences(BlockDigests other) {
    if (other.blockSize != blockSize) {
      throw new IllegalArgumentException("block sizes " + blockSize + ", " + other.blockSize);
    }
    List<Long> keys;
    synchronized (this) {
      keys = pages.keySet().stream().sorted().toList();
    }
    List<Range> ranges = new ArrayList<>();
    for (long page : keys) {
      for (long block = page * PAGE; block < (page + 1) * PAGE; block++) {
        OptionalInt mine = of(block);
        OptionalInt theirs = other.of(block);
        if (mine.isPresent() && theirs.isPresent() && mine.getAsInt() != theirs.getAsInt()) {
          ranges.add(new Range(block * blockSize, blockSize));
        }
      }
    }
    return ranges;
  }

  private static void forgetIn(long page, long[] entries, long first, long end) {
    long from = Math.max(first, page * PAGE);
    long to = Math.min(end, (page + 1) * PAGE);
    for (long block = from; block < to; block++) {
      entries[(int) (block % PAGE)] = 0;
    }
  }
}
