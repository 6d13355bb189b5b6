package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Extent;
import io.xenferry.block.Range;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Hashes the blocks of a disk that can be read here. What the disk says to be zeroes is not read;
 * the rest is read one request after another, so that whoever else wants the disk waits for one of
 * them at most.
 */
public final class LocalDigests implements DestinationDigests {
  /** Bytes that are read for one answer; the hashes of 64 KiB blocks are 8 KiB then. */
  public static final int MOST_READ = 16 << 20;

  private static final int REQUEST = 512 << 10;

  /** Questions for extents, for one answer; most disks answer one with all that was asked. */
  private static final int MOST_EXTENTS = 64;

  /** As many as were ever in use at once; they lie outside of the heap, which frees them late. */
  private static final Queue<ByteBuffer> FREE = new ConcurrentLinkedQueue<>();

  private final BlockBackend disk;
  private final int mostRead;

  /**
   * @param disk stays the caller's to close
   */
  public LocalDigests(BlockBackend disk) {
    this(disk, MOST_READ);
  }

  /**
   * @param mostRead bytes that are read for one answer, as far as a block is not larger
   */
  LocalDigests(BlockBackend disk, int mostRead) {
    this.disk = disk;
    this.mostRead = mostRead;
  }

  @Override
  public CompletableFuture<BlockHashes> digests(Range range, int blockSize, Digest digest) {
    if (range.length() <= 0
        || range.end() > disk.size()
        || Integer.bitCount(blockSize) != 1
        || blockSize < disk.alignment()
        || range.offset() % blockSize != 0) {
      return CompletableFuture.failedFuture(
          new IllegalArgumentException(range + " of " + disk.size() + " by " + blockSize));
    }
    List<Extent> found = new ArrayList<>();
    return extents(range, range.offset(), found, MOST_EXTENTS)
        .thenCompose(done -> new Answer(range, blockSize, digest, found).readOn());
  }

  /** As many as it takes to know of all of the range, within reason. */
  private CompletableFuture<Void> extents(
      Range range, long from, List<Extent> found, int questions) {
    return disk.extents(from, range.end() - from)
        .thenCompose(extents -> {
          long end = from;
          for (Extent extent : extents) {
            if (extent.offset() <= end && extent.end() > end) {
              end = extent.end();
              found.add(extent);
            }
          }
          return end == from || end >= range.end() || questions <= 1
              ? CompletableFuture.completedFuture(null)
              : extents(range, end, found, questions - 1);
        });
  }

  private final class Answer {
    private final Range range;
    private final int blockSize;
    private final Digest digest;
    private final BitSet data = new BitSet();
    private final Map<Integer, byte[]> hashes = new HashMap<>();

    /** Blocks that the extents tell of. */
    private final int told;

    private final ByteBuffer buffer;
    private long read;

    Answer(Range range, int blockSize, Digest digest, List<Extent> extents) {
      this.range = range;
      this.blockSize = blockSize;
      this.digest = digest;
      long end = range.offset();
      for (Extent extent : extents) {
        end = Math.max(end, Math.min(extent.end(), range.end()));
        if (!extent.zero()) {
          data.set(
              index(Math.max(extent.offset(), range.offset())),
              blocks(Math.min(extent.end(), range.end()) - range.offset()));
        }
      }
      int whole = end >= range.end() ? blocks(range.length()) : index(end);
      if (whole == 0) { // told of less than a block: take it for data
        data.set(0);
        whole = 1;
      }
      this.told = whole;
      ByteBuffer free = data.isEmpty() || blockSize > REQUEST ? null : FREE.poll();
      this.buffer =
          free != null
              ? free
              : ByteBuffer.allocateDirect(data.isEmpty() ? 0 : Math.max(blockSize, REQUEST));
    }

    private int index(long offset) {
      return (int) ((offset - range.offset()) / blockSize);
    }

    private int blocks(long bytes) {
      return (int) ((bytes + blockSize - 1) / blockSize);
    }

    CompletableFuture<BlockHashes> readOn() {
      return readFrom(0)
          .thenApply(hashed -> {
            // Not after a failure: a request that was given up may still write to it.
            if (buffer.capacity() == REQUEST) {
              FREE.add(buffer);
            }
            return hashed;
          });
    }

    private CompletableFuture<BlockHashes> readFrom(int next) {
      int first = data.nextSetBit(next);
      if (first < 0 || first >= told) {
        return CompletableFuture.completedFuture(BlockHashes.of(told, hashes));
      }
      int most = (int) Math.min(buffer.capacity(), mostRead - read) / blockSize;
      if (read > 0 && most <= 0) {
        return CompletableFuture.completedFuture(BlockHashes.of(first, hashes));
      }
      int end = Math.min(Math.min(data.nextClearBit(first), told), first + Math.max(1, most));
      long offset = range.offset() + (long) first * blockSize;
      int length = (int) Math.min((long) (end - first) * blockSize, range.end() - offset);
      int alignment = disk.alignment();
      long padded =
          Math.min(((long) length + alignment - 1) / alignment * alignment, disk.size() - offset);
      return read(offset, (int) padded)
          .thenCompose(done -> {
            for (int i = first; i < end; i++) {
              int at = (i - first) * blockSize;
              int block = i;
              digest
                  .of(buffer, at, Math.min(blockSize, length - at))
                  .ifPresent(hash -> hashes.put(block, hash));
            }
            read += length;
            return readFrom(end);
          });
    }

    private CompletableFuture<Void> read(long offset, int length) {
      CompletableFuture<Void> done = CompletableFuture.completedFuture(null);
      for (int at = 0; at < length; at += disk.maxTransfer()) {
        int from = at;
        int bytes = Math.min(disk.maxTransfer(), length - at);
        done = done.thenCompose(ok -> disk.read(offset + from, buffer.slice(from, bytes)));
      }
      return done;
    }
  }
}
