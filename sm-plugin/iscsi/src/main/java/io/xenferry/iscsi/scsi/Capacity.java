package io.xenferry.iscsi.scsi;

import java.nio.ByteBuffer;

/**
 * What READ CAPACITY says of a medium (SBC-3 §5.12, §5.13).
 *
 * @param blocks of the medium; a hostile unit may say anything, see {@link #sane}
 * @param blockSize bytes
 * @param thin whether blocks may be unmapped (LBPME)
 * @param unmappedAreZeroes whether what was unmapped reads as zeroes (LBPRZ)
 */
public record Capacity(long blocks, int blockSize, boolean thin, boolean unmappedAreZeroes) {
  private static final int SMALLEST_BLOCK = 512;
  private static final int LARGEST_BLOCK = 64 * 1024;

  /** Bytes of each answer that are needed. */
  public static final int LEAST_10 = 8;

  public static final int LEAST_16 = 16;

  /**
   * @param answer at least {@link #LEAST_16} bytes from 0
   */
  public static Capacity of16(ByteBuffer answer) {
    boolean thin = (answer.get(14) & 0x80) != 0;
    return new Capacity(
        answer.getLong(0) + 1, answer.getInt(8), thin, thin && (answer.get(14) & 0x40) != 0);
  }

  /**
   * @param answer at least {@link #LEAST_10} bytes from 0
   */
  public static Capacity of10(ByteBuffer answer) {
    return new Capacity((answer.getInt(0) & 0xFFFFFFFFL) + 1, answer.getInt(4), false, false);
  }

  /** Whether there can be such a disk: its bytes can be counted, its blocks are of a usual size. */
  public boolean sane() {
    return blockSize >= SMALLEST_BLOCK
        && blockSize <= LARGEST_BLOCK
        && Integer.bitCount(blockSize) == 1
        && blocks >= 1
        && blocks < Long.MAX_VALUE / blockSize;
  }

  /** Of the whole medium; only of a sane one. */
  public long bytes() {
    return blocks * blockSize;
  }
}
