package io.xenferry.copy;

import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/** A checksum of each block as it was sent last; blocks in chunks, so that holes cost nothing. */
final class BlockDigests {
  private static final int CHUNK = 1 << 12;

  private final int[] @Nullable [] chunks;
  private final BitSet known = new BitSet();
  private final CRC32C crc = new CRC32C();

  BlockDigests(int blocks) {
    chunks = new int[(blocks + CHUNK - 1) / CHUNK][];
  }

  void put(int block, int digest) {
    int[] chunk = chunks[block / CHUNK];
    if (chunk == null) {
      chunk = new int[CHUNK];
      chunks[block / CHUNK] = chunk;
    }
    chunk[block % CHUNK] = digest;
    known.set(block);
  }

  boolean matches(int block, int digest) {
    int[] chunk = chunks[block / CHUNK];
    return known.get(block) && chunk != null && chunk[block % CHUNK] == digest;
  }

  boolean knows(int block) {
    return known.get(block);
  }

  void forget(int first, int end) {
    known.clear(first, end);
  }

  /** CRC32C of the bytes from {@code from} up to {@code to}; the buffer's position stays. */
  int of(ByteBuffer buffer, int from, int to) {
    crc.reset();
    crc.update(buffer.duplicate().position(from).limit(to));
    return (int) crc.getValue();
  }
}
