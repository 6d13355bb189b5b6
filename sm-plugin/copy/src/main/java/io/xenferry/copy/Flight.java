package io.xenferry.copy;

import io.xenferry.block.BlockException;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** Something under way that the write-ordering point holds a range for. */
abstract class Flight {
  final long offset;
  final long length;
  final int firstBlock;
  final int endBlock;

  /** Of the destination that its writes were issued to; 0 while none was. */
  long generation;

  /** When its first write to the destination was issued; only differences mean something. */
  long issued;

  /** Writes to the destination that have not completed. */
  int destinationWrites;

  Flight(BlockMap map, long offset, long length) {
    this.offset = offset;
    this.length = length;
    this.firstBlock = map.blockOf(offset);
    this.endBlock = map.blockFrom(offset + length);
  }

  boolean overlapsBlocks(int first, int end) {
    return firstBlock < end && first < endBlock;
  }

  boolean overlapsBytes(long from, long bytes) {
    return offset < from + bytes && from < offset + length;
  }

  /** Whether the copier must leave its blocks alone. */
  abstract boolean holdsDestination();

  /** A guest's request on its way to one disk or to both. */
  static final class GuestWrite extends Flight {
    enum Kind {
      WRITE,
      ZERO,
      TRIM
    }

    final Kind kind;
    final @Nullable ByteBuffer data;
    final CompletableFuture<Void> answer = new CompletableFuture<>();
    boolean waiting;
    boolean mirrored;

    /** The destination has it. */
    boolean arrived;

    boolean sourceDone;
    boolean answered;
    boolean overdue;
    @Nullable BlockException sourceFailure;

    GuestWrite(BlockMap map, Kind kind, long offset, long length, @Nullable ByteBuffer data) {
      super(map, offset, length);
      this.kind = kind;
      this.data = data;
    }

    @Override
    boolean holdsDestination() {
      return mirrored;
    }
  }

  /** A run of blocks that the copier has locked, from before the read to the end of the write. */
  static final class Transfer extends Flight {
    /** Known to be zeroes when it was locked: nothing to read. */
    final boolean hole;

    long readIssued;
    long readDone;

    /** The destination was lost under it; its writes may still take effect. */
    boolean lost;

    boolean finished;
    @Nullable Runnable done;
    long bytesRead;
    long bytesSkipped;
    long bytesZeroed;
    long bytesSent;

    /** What the destination held already. */
    long bytesSaved;

    long writeNanos;
    @Nullable BlockException sourceFailure;
    @Nullable BlockException destinationFailure;

    Transfer(BlockMap map, int first, int end, boolean hole) {
      super(map, map.offset(first), map.bytes(first, end));
      this.hole = hole;
    }

    @Override
    boolean holdsDestination() {
      return !finished;
    }
  }
}
