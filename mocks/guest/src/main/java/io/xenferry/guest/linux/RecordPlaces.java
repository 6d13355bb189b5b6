package io.xenferry.guest.linux;

import io.xenferry.guest.ledger.DiskBlock;
import java.util.UUID;

/** Where on a disk a record is and what it is, as in {@code writer.c}. */
final class RecordPlaces {
  private RecordPlaces() {}

  /** The number of the block that a record is written to. */
  static long block(int disk, long number, long blocks) {
    return Long.remainderUnsigned(mix(number * 0x9E3779B97F4A7C15L + disk), blocks);
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  /** A number that no other disk of the guest has. */
  static long sequence(int disk, long number) {
    return number << 4 | disk;
  }

  static DiskBlock content(UUID vm, int disk, long number, long blocks) {
    return new DiskBlock(
        DiskBlock.Kind.WRITE, disk, block(disk, number, blocks), sequence(disk, number), vm);
  }
}
