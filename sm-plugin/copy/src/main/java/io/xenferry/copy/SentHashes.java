package io.xenferry.copy;

import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What blocks held when they were sent, until they are verified: zeroes, or their {@link
 * Digest#CHECKSUM}. Takes eight bytes a block of data, 128 MiB for a TiB of blocks of 64 KiB that
 * nothing was verified of yet. Confined to the point's scheduler.
 */
final class SentHashes {
  private static final int PAGE = 1024;

  private final BitSet known = new BitSet();
  private final BitSet zeroes = new BitSet();
  private final Map<Integer, Page> pages = new HashMap<>();

  private static final class Page {
    final long[] sums = new long[PAGE];
    int used;
  }

  boolean known(int block) {
    return known.get(block);
  }

  boolean isZero(int block) {
    return zeroes.get(block);
  }

  /** Clears those that are known to be zeroes. */
  void leaveZeroesOut(BitSet blocks) {
    blocks.andNot(zeroes);
  }

  void putZeroes(int first, int end) {
    forget(first, end);
    known.set(first, end);
    zeroes.set(first, end);
  }

  /**
   * @param hash its checksum, empty for zeroes
   */
  void put(int block, Optional<byte[]> hash) {
    if (hash.isEmpty()) {
      putZeroes(block, block + 1);
      return;
    }
    forget(block, block + 1);
    known.set(block);
    Page page = pages.computeIfAbsent(block / PAGE, number -> new Page());
    page.sums[block % PAGE] = sum(hash.get());
    page.used++;
  }

  void forget(int first, int end) {
    for (int block = known.nextSetBit(first); block >= 0 && block < end; ) {
      if (!zeroes.get(block)) {
        Page page = pages.get(block / PAGE);
        if (page != null && --page.used == 0) {
          pages.remove(block / PAGE);
        }
      }
      known.clear(block);
      block = known.nextSetBit(block + 1);
    }
    zeroes.clear(first, end);
  }

  /** Whether a block that is known is what a destination says it holds. */
  boolean matches(int block, Optional<byte[]> there) {
    if (zeroes.get(block)) {
      return there.isEmpty();
    }
    Page page = pages.get(block / PAGE);
    return page != null && there.isPresent() && sum(there.get()) == page.sums[block % PAGE];
  }

  private static long sum(byte[] checksum) {
    return ByteBuffer.wrap(checksum).getLong();
  }
}
