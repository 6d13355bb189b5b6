package io.xenferry.copy;

import io.xenferry.block.ZeroScan;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;

/** Tells blocks of zeroes from others. */
final class Zeroes {
  private static final ByteBuffer ZEROES = ByteBuffer.allocateDirect(64 << 10);

  /** The length last asked for, and its checksum: nearly always the same. */
  private static volatile long digested;

  private Zeroes() {}

  /** CRC32C of so many zeroes. */
  static int digest(int length) {
    long known = digested;
    if ((int) (known >>> 32) == length) {
      return (int) known;
    }
    CRC32C crc = new CRC32C();
    for (int left = length; left > 0; ) {
      int step = Math.min(left, ZEROES.capacity());
      crc.update(ZEROES.slice(0, step));
      left -= step;
    }
    digested = (long) length << 32 | crc.getValue();
    return (int) crc.getValue();
  }

  /** Whether all bytes are zero; the buffer's position stays. */
  static boolean only(ByteBuffer buffer, int from, int length) {
    return ZeroScan.isZero(buffer.slice(from, length));
  }
}
