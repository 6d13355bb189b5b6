package io.xenferry.guest.ledger;

/**
 * Which parts of a disk were filled before its first guest ran: chunks of 1 MiB, spread evenly.
 *
 * @param size of the disk in bytes, a multiple of {@link DiskBlock#SIZE}
 * @param percent of it that is filled, 0 to 100
 */
public record FillPattern(long size, int percent, long seed) {
  public static final int CHUNK = 1 << 20;

  public FillPattern {
    if (size < 0 || size % DiskBlock.SIZE != 0 || percent < 0 || percent > 100) {
      throw new IllegalArgumentException("fill " + percent + " % of " + size);
    }
  }

  public boolean filledAt(long offset) {
    long chunk = offset / CHUNK;
    return (chunk + 1) * percent / 100 > chunk * percent / 100;
  }
}
