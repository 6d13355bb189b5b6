package io.xenferry.guest;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;
import java.util.zip.CRC32C;

/**
 * The guest's memory: pages of noise that carry their own checksum, so that one that arrives
 * damaged or mixed is noticed. Thread-safe.
 */
final class GuestMemory {
  static final int PAGE = 4096;

  private final ByteBuffer pages;
  private final int count;
  private final BitSet dirty = new BitSet();
  private boolean tracking;
  private long touched;

  GuestMemory(long bytes) {
    count = (int) Math.clamp(bytes / PAGE, 1, 64 << 10);
    pages = ByteBuffer.allocateDirect(count * PAGE).order(ByteOrder.LITTLE_ENDIAN);
  }

  int count() {
    return count;
  }

  synchronized long touched() {
    return touched;
  }

  void fillAll(long seed) {
    for (int page = 0; page < count; page++) {
      touch(page, seed + page);
    }
  }

  /** Writes a page anew. */
  synchronized void touch(int page, long seed) {
    int at = page * PAGE;
    long state = seed;
    for (int i = 0; i < PAGE - 8; i += 8) {
      state = state * 0x5851F42D4C957F2DL + 0x14057B7EF767814FL;
      pages.putLong(at + i, state);
    }
    pages.putLong(at + PAGE - 8, crc(pages, at));
    touched++;
    if (tracking) {
      dirty.set(page);
    }
  }

  /** Begins to note what is touched, with everything noted. */
  synchronized void trackAll() {
    tracking = true;
    dirty.set(0, count);
  }

  synchronized void stopTracking() {
    tracking = false;
    dirty.clear();
  }

  synchronized int dirtyCount() {
    return dirty.cardinality();
  }

  /** The first dirty page from an index on, or -1. */
  synchronized int nextDirty(int from) {
    return dirty.nextSetBit(from);
  }

  /** Copies a page, which is clean until it is touched again. */
  synchronized void take(int page, byte[] into) {
    dirty.clear(page);
    pages.get(page * PAGE, into);
  }

  synchronized void put(int page, byte[] content) throws IOException {
    if (page < 0 || page >= count) {
      throw new IOException("page " + page + " of " + count);
    }
    pages.put(page * PAGE, content);
    if (pages.getLong(page * PAGE + PAGE - 8) != crc(pages, page * PAGE)) {
      throw new IOException("page " + page + " arrived damaged");
    }
  }

  private static long crc(ByteBuffer buffer, int at) {
    CRC32C crc = new CRC32C();
    crc.update(buffer.slice(at, PAGE - 8));
    return crc.getValue() | 1L << 40;
  }

  /** Fails unless every page is whole: none was left out of a stream. */
  synchronized void verify() throws IOException {
    for (int page = 0; page < count; page++) {
      if (pages.getLong(page * PAGE + PAGE - 8) != crc(pages, page * PAGE)) {
        throw new IOException("page " + page + " never arrived");
      }
    }
  }
}
