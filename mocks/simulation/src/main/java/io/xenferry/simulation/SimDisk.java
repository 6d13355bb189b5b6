package io.xenferry.simulation;

import io.xenferry.block.BlockException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * A disk of a few blocks, each holding the number of the record last written to it; what was not
 * flushed may be lost with the power.
 */
final class SimDisk {
  static final int BLOCK = 512;

  final long[] blocks;
  private final long[] durable;

  /** Why writes through an export fail; null while they do not. */
  BlockException.@Nullable Kind broken;

  /** Dirty bitmaps of the hypervisor, one per copy that watches. */
  final List<BitSet> trackers = new ArrayList<>();

  /** Who is handed the guest's writes as well. */
  final List<Mirrored> mirrors = new ArrayList<>();

  /** A write of the guest on its way to a mirror. */
  @FunctionalInterface
  interface Mirrored {
    void write(int block, long record);
  }

  SimDisk(int count) {
    blocks = new long[count];
    durable = new long[count];
  }

  long size() {
    return (long) blocks.length * BLOCK;
  }

  /** A guest's write: durable when answered. */
  void guestWrite(int block, long record) {
    blocks[block] = record;
    durable[block] = record;
    trackers.forEach(tracker -> tracker.set(block));
    List.copyOf(mirrors).forEach(mirror -> mirror.write(block, record));
  }

  /** A write through an export: volatile. */
  void write(int block, long record) {
    blocks[block] = record;
  }

  void flush() {
    System.arraycopy(blocks, 0, durable, 0, blocks.length);
  }

  /** Each unflushed block is kept or lost. */
  void losePower(Random random) {
    trackers.clear();
    mirrors.clear();
    for (int i = 0; i < blocks.length; i++) {
      if (blocks[i] != durable[i] && random.nextBoolean()) {
        blocks[i] = durable[i];
      }
      durable[i] = blocks[i];
    }
  }

  boolean same(long[] truth) {
    return Arrays.equals(blocks, truth);
  }
}
