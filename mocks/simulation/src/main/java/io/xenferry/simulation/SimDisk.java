package io.xenferry.simulation;

import io.xenferry.block.BlockException;
import io.xenferry.migration.state.MigrationId;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
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

  /** Copies of it that are under way. */
  final List<SimSource> copies = new ArrayList<>();

  /** Who is handed the guest's writes as well. */
  final List<Mirrored> mirrors = new ArrayList<>();

  /** A write of the guest on its way to a mirror. */
  interface Mirrored {
    void write(int block, long record);

    /** Its connection breaks. */
    void breaks();
  }

  SimDisk(int count) {
    blocks = new long[count];
    durable = new long[count];
  }

  long size() {
    return (long) blocks.length * BLOCK;
  }

  /**
   * What a server before this one has noted for the copy of a migration, by the process in which
   * the guest still runs; noted no longer for that one.
   */
  Optional<SimSource> noted(MigrationId migration) {
    Optional<SimSource> found = Optional.empty();
    for (SimSource copy : List.copyOf(copies)) {
      if (copy.isOf(migration)) {
        found = Optional.of(copy);
        copy.close();
      }
    }
    List.copyOf(mirrors).forEach(Mirrored::breaks);
    return found;
  }

  /** Becomes what an older copy of another may hold, or one of something else. */
  void resemble(SimDisk other, Random random) {
    for (int i = 0; i < blocks.length; i++) {
      blocks[i] =
          switch (random.nextInt(6)) {
            case 0 -> 0;
            case 1 -> -1 - random.nextInt(1000); // no guest has ever written that
            default -> other.blocks[i];
          };
    }
    flush();
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
    copies.clear();
    for (int i = 0; i < blocks.length; i++) {
      if (blocks[i] != durable[i] && random.nextBoolean()) {
        blocks[i] = durable[i];
      }
      durable[i] = blocks[i];
    }
  }

  /** Whether all that was written would survive a loss of power. */
  boolean flushed() {
    return Arrays.equals(blocks, durable);
  }

  /** Whether a block is the same as another disk's, also after a loss of power there. */
  boolean sameAs(SimDisk other, int block) {
    return blocks[block] == other.blocks[block] && blocks[block] == other.durable[block];
  }

  /** For people: each block that is not as it should be. */
  List<String> differences(long[] truth) {
    List<String> found = new ArrayList<>();
    for (int i = 0; i < blocks.length; i++) {
      if (blocks[i] != truth[i]) {
        found.add("block " + i + ": " + blocks[i] + " for " + truth[i]);
      }
    }
    return found;
  }

  boolean same(long[] truth) {
    return Arrays.equals(blocks, truth);
  }
}
