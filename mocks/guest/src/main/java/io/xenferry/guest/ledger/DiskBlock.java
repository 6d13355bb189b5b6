package io.xenferry.guest.ledger;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.UUID;
import java.util.zip.CRC32C;

/**
 * A block of 4096 bytes that says what it is and proves that it is whole. Little-endian:
 *
 * <pre>
 *    0  8  "XFBLOCK1"
 *    8  4  kind: 1 fill, 2 write
 *   12  4  index of the disk in its guest
 *   16  8  number of the block on the disk
 *   24  8  write: sequence number; fill: seed
 *   32 16  write: the VM's uuid; fill: zero
 *   48  …  noise that follows from the fields above, so that nothing can compress it
 * 4092  4  CRC32C of all before
 * </pre>
 */
public record DiskBlock(Kind kind, int disk, long number, long sequence, UUID vm) {
  public static final int SIZE = 4096;

  private static final long MAGIC = 0x314B434F4C424658L;
  private static final int HEADER = 48;
  private static final int CHECKED = SIZE - 4;

  /** Of no guest: filled before one ran. */
  public static final UUID NO_VM = new UUID(0, 0);

  /** Who wrote it. */
  public enum Kind {
    FILL,
    WRITE
  }

  public static DiskBlock fill(int disk, long number, long seed) {
    return new DiskBlock(Kind.FILL, disk, number, seed, NO_VM);
  }

  /** Puts the block at the buffer's position, which moves behind it. Little-endian buffers only. */
  public void put(ByteBuffer into) {
    if (into.order() != ByteOrder.LITTLE_ENDIAN) {
      throw new IllegalArgumentException("not a little-endian buffer");
    }
    int start = into.position();
    into.putLong(MAGIC).putInt(kind.ordinal() + 1).putInt(disk).putLong(number).putLong(sequence);
    into.putLong(vm.getMostSignificantBits()).putLong(vm.getLeastSignificantBits());
    long state = sequence * 0x9E3779B97F4A7C15L ^ number * 0xD1342543DE82EF95L ^ disk;
    for (int at = HEADER; at < CHECKED - 4; at += 8) {
      // SplitMix64, Steele, Lea and Flood 2014.
      state += 0x9E3779B97F4A7C15L;
      long z = (state ^ (state >>> 30)) * 0xBF58476D1CE4E5B9L;
      z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
      into.putLong(z ^ (z >>> 31));
    }
    into.putInt((int) state);
    into.putInt(checksum(into, start));
  }

  /** The block at an index of a little-endian buffer, if it is whole. */
  public static Optional<DiskBlock> at(ByteBuffer buffer, int start) {
    int kind = buffer.getInt(start + 8);
    if (buffer.getLong(start) != MAGIC
        || kind < 1
        || kind > Kind.values().length
        || buffer.getInt(start + CHECKED) != checksum(buffer, start)) {
      return Optional.empty();
    }
    return Optional.of(
        new DiskBlock(
            Kind.values()[kind - 1],
            buffer.getInt(start + 12),
            buffer.getLong(start + 16),
            buffer.getLong(start + 24),
            new UUID(buffer.getLong(start + 32), buffer.getLong(start + 40))));
  }

  private static int checksum(ByteBuffer buffer, int start) {
    CRC32C crc = new CRC32C();
    crc.update(buffer.slice(start, CHECKED));
    return (int) crc.getValue();
  }
}
