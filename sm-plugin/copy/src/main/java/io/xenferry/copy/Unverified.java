package io.xenferry.copy;

import io.xenferry.block.Range;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which blocks of a destination are yet to be compared with what they should hold, and which are
 * being compared. A block is noted when its write has completed; one that is to be written again is
 * left out, since it will be noted again. Of those that the copier has sent it is known what they
 * should hold; of those that a mirror has written only the source knows. Confined to the point's
 * scheduler.
 */
final class Unverified {
  /** A run of blocks that is being compared. */
  static final class Check {
    final int first;
    final int end;

    /** Of the destination that is asked. */
    final long generation;

    /** What the blocks should hold is to be read from the source. */
    final boolean fromSource;

    /** How often the disk had been gone through when it began. */
    final int sweeps;

    /** Where something was about to be written since: of that the answer says nothing. */
    final BitSet overtaken = new BitSet();

    /** Answered, or no longer waited for. */
    boolean ended;

    Check(int first, int end, long generation, boolean fromSource, int sweeps) {
      this.first = first;
      this.end = end;
      this.generation = generation;
      this.fromSource = fromSource;
      this.sweeps = sweeps;
    }
  }

  /** Blocks that are asked about at once, however many of them should be zeroes. */
  static final int LONGEST = 1 << 16;

  /** How large a run may be: of data that was sent, or of anything that the source has. */
  record Most(int sent, int fromSource) {}

  private final WriteOrderingPoint point;
  private final BlockBooks books;
  private final SentHashes hashes = new SentHashes();
  private final BitSet blocks = new BitSet();

  /** Were not as they should be; before the flush under way; and the same also after a flush. */
  private final BitSet suspects = new BitSet();

  private final BitSet flushing = new BitSet();
  private final BitSet confirmed = new BitSet();
  private final List<Check> checks = new ArrayList<>();
  private Sample sample = Sample.NOTHING;
  private boolean neverSentToo;
  private int cursor;
  private int sweeps;

  Unverified(WriteOrderingPoint point, BlockBooks books) {
    this.point = point;
    this.books = books;
  }

  /** From now on these blocks are noted. */
  void keep(Sample which) {
    sample = which;
  }

  /** Whether it matters what is sent of a block. */
  boolean wants(int block) {
    return sample.has(block);
  }

  /** What blocks should hold that are sent. */
  SentHashes hashes() {
    return hashes;
  }

  /**
   * Whether what was never sent is compared as well, since it is zeroes at both ends: worth while
   * with a destination that knows without reading.
   */
  void neverSentToo(boolean too) {
    neverSentToo = too;
    if (!too) {
      for (int block = blocks.nextSetBit(0); block >= 0; block = blocks.nextSetBit(block + 1)) {
        if (books.untouched(block) && hashes.isZero(block)) {
          blocks.clear(block);
        }
      }
    }
  }

  /** The destination has these blocks, by the copier. */
  void arrived(int first, int end) {
    believe(first, end);
    for (int block = first; block < end; block++) {
      if (hashes.known(block) && (neverSentToo || !books.untouched(block))) {
        blocks.set(block);
      }
    }
  }

  /** The destination was asked, and holds what it should: nothing is left to compare. */
  void same(int block) {
    hashes.forget(block, block + 1);
    blocks.clear(block);
  }

  /** The destination has what a mirror has written there; which nobody has hashed. */
  void mirrored(int first, int end) {
    believe(first, end);
    for (int block = first; block < end; block++) {
      if (sample.has(block)) {
        blocks.set(block);
      }
    }
  }

  /** The destination was never sent these, since they are zeroes, as they should be there. */
  void zeroes(List<Range> ranges) {
    BlockMap map = point.map();
    for (Range range : neverSentToo ? ranges : List.<Range>of()) {
      int first = map.blockFrom(range.offset());
      int end = range.end() == map.size() ? map.count() : map.blockOf(range.end());
      if (first < end) {
        hashes.putZeroes(first, end);
        blocks.set(first, end);
      }
    }
  }

  /**
   * All blocks are to be compared with what the source has now, those that were never sent and
   * those that have been compared too.
   *
   * @param whole if not, only what was sent: the rest is shown by a layer below
   */
  void readAll(boolean whole) {
    hashes.forget(0, point.map().count());
    if (whole) {
      blocks.set(0, point.map().count());
    } else {
      books.addWrittenHere(blocks);
    }
  }

  /** These blocks are about to be written. */
  void writing(int first, int end) {
    for (Check check : checks) {
      if (check.first < end && first < check.end) {
        check.overtaken.set(Math.max(first, check.first), Math.min(end, check.end));
      }
    }
  }

  /** Nothing to be compared, and nothing being compared. */
  boolean isEmpty() {
    return blocks.isEmpty() && checks.isEmpty();
  }

  /** How many checks are under way. */
  int underWay() {
    return checks.size();
  }

  /** How often all of the disk was gone through, and told of, since {@link #sweepAnew}. */
  int sweeps() {
    int told = sweeps;
    for (Check check : checks) {
      told = Math.min(told, check.sweeps);
    }
    return told;
  }

  void sweepAnew() {
    sweeps = 0;
  }

  /** Bytes to be compared that are not known to be zeroes, an upper estimate. */
  long bytes() {
    BitSet data = (BitSet) blocks.clone();
    hashes.leaveZeroesOut(data);
    return (long) data.cardinality() * point.map().blockSize();
  }

  /**
   * Begins with the next run that nobody is writing; null when there is none now.
   *
   * @param most blocks of data; what should be zeroes does not count
   * @param least blocks of a run; shorter ones are left for later
   * @param source whether the source can be read
   */
  @Nullable Check next(long generation, Most most, int least, boolean source) {
    boolean wrapped = false;
    while (true) {
      int first = blocks.nextSetBit(cursor);
      if (first < 0) {
        if (cursor == 0 || wrapped) {
          return null;
        }
        cursor = 0;
        sweeps++;
        wrapped = true;
      } else if (books.allDirty(first, first + 1)) {
        blocks.clear(first); // is sent again
        cursor = first + 1;
      } else if (isHeld(first) || !(source || hashes.known(first))) {
        cursor = first + 1;
      } else if (blocks.nextClearBit(first) - first < least) {
        cursor = blocks.nextClearBit(first);
      } else {
        return begin(first, generation, most);
      }
    }
  }

  private Check begin(int first, long generation, Most most) {
    boolean known = hashes.known(first);
    int left = known ? most.sent() : most.fromSource();
    int end = first;
    do {
      left -= known && hashes.isZero(end) ? 0 : 1;
      end++;
    } while (left > 0
        && end - first < LONGEST
        && blocks.get(end)
        && hashes.known(end) == known
        && !books.allDirty(end, end + 1)
        && !isHeld(end));
    blocks.clear(first, end);
    cursor = end;
    Check check = new Check(first, end, generation, !known, sweeps);
    checks.add(check);
    return check;
  }

  private boolean isHeld(int block) {
    for (Flight flight : point.inFlight()) {
      if (flight.overlapsBlocks(block, block + 1)) {
        return true;
      }
    }
    return false;
  }

  /** A check is over. What it has not shown is to be put back. */
  void ended(Check check) {
    check.ended = true;
    checks.remove(check);
  }

  /**
   * A part of a check must be compared once more, but for what was overtaken: that is noted when it
   * arrives, and may have been compared since.
   */
  void putBack(Check check, int first, int end) {
    BitSet again = new BitSet();
    again.set(first, end);
    again.andNot(check.overtaken);
    blocks.or(again);
  }

  /** Nothing was told of all of it. */
  void notTold(Check check) {
    putBack(check, check.first, check.end);
    sweeps = Math.min(sweeps, check.sweeps); // was left out
  }

  /** Were not told of with those before them; they are next. */
  void goOn(Check check, int first) {
    if (first < check.end) {
      putBack(check, first, check.end);
      cursor = Math.min(cursor, first);
      sweeps = Math.min(sweeps, check.sweeps);
    }
  }

  /**
   * The block is not as it should be, which a destination that was reset explains as long as nobody
   * has noticed.
   *
   * @return whether it is so also after a flush, which would have noticed
   */
  boolean suspect(int block) {
    suspects.set(block);
    blocks.set(block);
    return confirmed.get(block);
  }

  /** A flush begins: it is for all suspicions that have come up. */
  void flushIssued() {
    flushing.or(suspects);
    suspects.clear();
  }

  /**
   * It has ended.
   *
   * @param well whether the destination is still the same
   */
  void flushed(boolean well) {
    if (well) {
      confirmed.or(flushing);
    }
    flushing.clear();
  }

  private void believe(int first, int end) {
    suspects.clear(first, end);
    flushing.clear(first, end);
    confirmed.clear(first, end);
  }

  /** The block is as it should be. */
  void verified(int block) {
    believe(block, block + 1);
    hashes.forget(block, block + 1);
  }
}
