package io.xenferry.copy;

import io.xenferry.block.ZeroScan;
import java.nio.ByteBuffer;

/** Tells blocks of zeroes from others. */
final class Zeroes {
  private Zeroes() {}

  /** Whether all bytes are zero; the buffer's position stays. */
  static boolean only(ByteBuffer buffer, int from, int length) {
    return ZeroScan.isZero(buffer.slice(from, length));
  }
}
