package io.xenferry.iscsi.scsi;

import io.xenferry.block.Extent;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What GET LBA STATUS answers (SBC-3 section 5.7), as a target writes and an initiator reads it.
 */
public final class LbaStatus {
  public static final int HEADER = 8;
  public static final int DESCRIPTOR = 16;

  private static final int MAPPED = 0;
  private static final int DEALLOCATED = 1;
  private static final int ANCHORED = 2;
  private static final long COUNT = 0xFFFFFFFFL;

  private LbaStatus() {}

  /**
   * Describes extents from a block on. Zero extents shrink to whole blocks; what lies between them
   * counts as mapped.
   *
   * @param lba the first block that was asked for
   * @param extents of bytes, in order, from that block on
   * @param room bytes at most, beyond one descriptor
   */
  public static byte[] write(long lba, List<Extent> extents, int blockSize, int room) {
    ByteBuffer list = ByteBuffer.allocate(Math.max(HEADER + DESCRIPTOR, room));
    list.position(HEADER);
    long at = lba;
    long end = lba;
    for (Extent extent : extents) {
      end = extent.end() / blockSize;
      if (extent.zero()) {
        long from = Math.max(at, (extent.offset() + blockSize - 1) / blockSize);
        if (end > from) {
          at = describe(list, at, from, MAPPED);
          at = describe(list, at, end, DEALLOCATED);
        }
      }
    }
    describe(list, at, Math.max(end, lba + 1), MAPPED);
    int length = list.position();
    list.putInt(0, length - 4);
    return Arrays.copyOf(list.array(), length);
  }

  private static long describe(ByteBuffer list, long from, long to, int status) {
    long at = from;
    while (at < to && list.remaining() >= DESCRIPTOR) {
      long n = Math.min(to - at, COUNT);
      list.putLong(at).putInt((int) n).put((byte) status).put(new byte[3]);
      at += n;
    }
    return Math.max(at, to);
  }

  /**
   * Reads an answer; descriptors that do not follow one another end the list. tgtd counts blocks
   * modulo 2^32: the next descriptor's address tells the truth, and a count of zero means at least
   * 2^32.
   *
   * @param got bytes of the answer that came
   * @param offset the first byte that was asked for
   * @param length how many bytes beyond which nothing matters
   * @param blocks of the disk
   * @return extents without gaps from {@code offset}; empty when the answer says nothing of it
   */
  public static List<Extent> read(
      ByteBuffer answer, int got, long offset, long length, int blockSize, long blocks) {
    List<Extent> found = new ArrayList<>();
    long at = offset;
    long end = offset + length;
    for (int i = HEADER; i + DESCRIPTOR <= got && at < end; i += DESCRIPTOR) {
      long start = answer.getLong(i);
      long count = count(answer, i, got);
      if (start < 0 || start >= blocks) {
        break;
      }
      boolean follows = start * blockSize == at || (found.isEmpty() && start * blockSize < at);
      long stop = Math.min(end, Math.min(start + count, blocks) * blockSize);
      if (!follows || stop <= at) {
        break;
      }
      int status = answer.get(i + 12) & 0xF;
      found.add(new Extent(at, stop - at, status == DEALLOCATED || status == ANCHORED));
      at = stop;
    }
    return found;
  }

  private static long count(ByteBuffer answer, int i, int got) {
    long told = answer.getInt(i + 8) & COUNT;
    long count = told == 0 ? COUNT + 1 : told;
    if (i + 2 * DESCRIPTOR <= got) {
      long next = answer.getLong(i + DESCRIPTOR) - answer.getLong(i);
      boolean wrapped = next > count && next - count < 1L << 48;
      return wrapped && (next & COUNT) == (count & COUNT) ? next : count;
    }
    return count;
  }
}
