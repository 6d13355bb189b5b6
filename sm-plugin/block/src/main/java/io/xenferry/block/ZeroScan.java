package io.xenferry.block;

import java.nio.ByteBuffer;

/** Finds zeroes at the speed of memory. */
public final class ZeroScan {
  private static final int STEP = 64 << 10;
  private static final ByteBuffer ZEROES = ByteBuffer.allocateDirect(STEP).asReadOnlyBuffer();

  private ZeroScan() {}

  /** Whether the remaining bytes are all zero; true when none remain. Does not move the buffer. */
  public static boolean isZero(ByteBuffer buffer) {
    int start = buffer.position();
    int length = buffer.remaining();
    // The vectorised comparison has a start-up cost; most data differ in the first bytes.
    int probe = Math.min(length, Long.BYTES);
    for (int i = 0; i < probe; i++) {
      if (buffer.get(start + i) != 0) {
        return false;
      }
    }
    for (int at = probe; at < length; at += STEP) {
      int n = Math.min(STEP, length - at);
      if (buffer.slice(start + at, n).mismatch(ZEROES.slice(0, n)) >= 0) {
        return false;
      }
    }
    return true;
  }
}
