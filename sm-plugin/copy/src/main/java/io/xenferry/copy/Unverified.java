package io.xenferry.copy;

import io.xenferry.block.BlockDigests;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which blocks of a destination were written and are yet to be read back, and which are being read.
 * A block is noted when its write has completed; one that is to be written again is left out, since
 * it will be noted again. Confined to the point's scheduler.
 */
final class Unverified {
  /** A run of blocks that is being read back. */
  static final class Check {
    final int first;
    final int end;

    /** Of the destination that is read. */
    final long generation;

    /** Something was about to be written there since: the answer says nothing. */
    boolean overtaken;

    /** Answered, or no longer waited for. */
    boolean ended;

    Check(int first, int end, long generation) {
      this.first = first;
      this.end = end;
      this.generation = generation;
    }
  }

  private final WriteOrderingPoint point;
  private final BlockBooks books;
  private final BitSet blocks = new BitSet();
  private final List<Check> checks = new ArrayList<>();
  private boolean kept;
  private int cursor;
  private int sweeps;

  Unverified(WriteOrderingPoint point, BlockBooks books) {
    this.point = point;
    this.books = books;
  }

  /** From now on blocks are noted. */
  void keep() {
    kept = true;
  }

  /** The destination has these blocks. Those that it was never sent need not be read. */
  void arrived(int first, int end) {
    for (int block = first; kept && block < end; block++) {
      if (!books.untouched(block)) {
        blocks.set(block);
      }
    }
  }

  /** These blocks are about to be written. */
  void writing(int first, int end) {
    for (Check check : checks) {
      check.overtaken |= check.first < end && first < check.end;
    }
  }

  /** Of what has arrived so far nothing is to be read. */
  void forget() {
    blocks.clear();
  }

  /** Nothing to be read, and nothing being read. */
  boolean isEmpty() {
    return blocks.isEmpty() && checks.isEmpty();
  }

  /** How many checks are under way. */
  int underWay() {
    return checks.size();
  }

  /** How often all of the disk was gone through. */
  int sweeps() {
    return sweeps;
  }

  /** Bytes to be read, an upper estimate by less than a block. */
  long bytes() {
    return (long) blocks.cardinality() * point.map().blockSize();
  }

  /** Begins with the next run that nobody is writing; null when there is none now. */
  @Nullable Check next(long generation, int maxBlocks) {
    BlockDigests digests = books.digests();
    if (digests == null) {
      blocks.clear();
    }
    boolean wrapped = false;
    while (digests != null) {
      int first = blocks.nextSetBit(cursor);
      if (first < 0) {
        if (cursor == 0 || wrapped) {
          return null;
        }
        cursor = 0;
        sweeps++;
        wrapped = true;
      } else if (books.allDirty(first, first + 1) || digests.of(first).isEmpty()) {
        blocks.clear(first); // is sent again; or was mirrored, for which only the flush vouches
        cursor = first + 1;
      } else if (isHeld(first)) {
        cursor = first + 1;
      } else {
        int end = first + 1;
        while (end - first < maxBlocks
            && blocks.get(end)
            && !books.allDirty(end, end + 1)
            && digests.of(end).isPresent()
            && !isHeld(end)) {
          end++;
        }
        blocks.clear(first, end);
        cursor = end;
        Check check = new Check(first, end, generation);
        checks.add(check);
        return check;
      }
    }
    return null;
  }

  private boolean isHeld(int block) {
    for (Flight flight : point.inFlight()) {
      if (flight.overlapsBlocks(block, block + 1)) {
        return true;
      }
    }
    return false;
  }

  /**
   * A check is over.
   *
   * @param good false when its blocks must be read again
   */
  void ended(Check check, boolean good) {
    check.ended = true;
    checks.remove(check);
    if (!good) {
      blocks.set(check.first, check.end);
    }
  }
}
