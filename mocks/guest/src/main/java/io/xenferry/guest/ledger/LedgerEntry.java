package io.xenferry.guest.ledger;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.zip.CRC32C;

/**
 * One entry of the ledger, 64 bytes, little-endian:
 *
 * <pre>
 *    0  4  "XFLE"
 *    4  4  type: 1 FILL, 2 START, 3 STOP, 4 WRITE, 5 FLUSH
 *    8  4  disk
 *   12  4  length
 *   16  8  offset
 *   24  8  sequence
 *   32  8  runner
 *   40  8  monotonic
 *   48  8  wall
 *   56  4  checksum
 *   60  4  CRC32C of all before
 * </pre>
 *
 * @param type what happened
 * @param disk index of the disk in its guest; 0 where none is meant
 * @param length WRITE: bytes; FILL: percent; START, STOP: the process's id
 * @param offset WRITE: bytes; FILL: the disk's size in bytes
 * @param sequence WRITE: the write's number; FLUSH: all writes to the disk up to this number were
 *     acknowledged when the flush began; FILL: the seed; START: the next number
 * @param runner a random number for each process that ever ran the guest; 0 in FILL
 * @param monotonic nanoseconds of CLOCK_MONOTONIC, comparable between processes of one host: WRITE,
 *     FLUSH: when acknowledged; START: before anything runs; STOP: after everything stands still
 * @param wall nanoseconds since 1970 of the same instant
 * @param checksum WRITE: CRC32C of the bytes written; else 0
 */
public record LedgerEntry(
    Type type,
    int disk,
    int length,
    long offset,
    long sequence,
    long runner,
    long monotonic,
    long wall,
    int checksum) {
  public static final int SIZE = 64;

  private static final int MAGIC = 0x454C4658;

  /** What an entry tells. */
  public enum Type {
    /** A disk was prepared by {@code DiskFiller}. */
    FILL,
    /** The guest begins to run in this process. */
    START,
    /** The guest stands still, all its writes are acknowledged. */
    STOP,
    /** A write was acknowledged by the disk. */
    WRITE,
    /** A flush was acknowledged by the disk. */
    FLUSH
  }

  public static LedgerEntry fill(int disk, FillPattern pattern) {
    return new LedgerEntry(
        Type.FILL, disk, pattern.percent(), pattern.size(), pattern.seed(), 0, 0, wallNow(), 0);
  }

  /** Nanoseconds since 1970. */
  public static long wallNow() {
    java.time.Instant now = java.time.Instant.now();
    return now.getEpochSecond() * 1_000_000_000L + now.getNano();
  }

  void put(ByteBuffer into) {
    int start = into.position();
    into.putInt(MAGIC).putInt(type.ordinal() + 1).putInt(disk).putInt(length);
    into.putLong(offset).putLong(sequence).putLong(runner).putLong(monotonic).putLong(wall);
    into.putInt(checksum).putInt(crc(into, start));
  }

  /** The entry at an index of a little-endian buffer, if it is whole. */
  static Optional<LedgerEntry> at(ByteBuffer buffer, int start) {
    int type = buffer.getInt(start + 4);
    if (buffer.getInt(start) != MAGIC
        || type < 1
        || type > Type.values().length
        || buffer.getInt(start + 60) != crc(buffer, start)) {
      return Optional.empty();
    }
    return Optional.of(
        new LedgerEntry(
            Type.values()[type - 1],
            buffer.getInt(start + 8),
            buffer.getInt(start + 12),
            buffer.getLong(start + 16),
            buffer.getLong(start + 24),
            buffer.getLong(start + 32),
            buffer.getLong(start + 40),
            buffer.getLong(start + 48),
            buffer.getInt(start + 56)));
  }

  private static int crc(ByteBuffer buffer, int start) {
    CRC32C crc = new CRC32C();
    crc.update(buffer.slice(start, SIZE - 4));
    return (int) crc.getValue();
  }

  static ByteBuffer buffer(int entries) {
    return ByteBuffer.allocate(entries * SIZE).order(ByteOrder.LITTLE_ENDIAN);
  }
}
