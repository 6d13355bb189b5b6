package io.xenferry.copy;

import io.xenferry.block.Range;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * What the write-ordering point knows of each block: the durable log of those that may differ, and
 * in memory which of them are to be sent, are flushed, were ever written. Confined to the point's
 * scheduler.
 */
final class BlockBooks {
  private final BlockMap map;
  private final DirtyLog log;

  /** To be sent. */
  private final BitSet dirty;

  /** Dirty, and zeroes at the source as far as is known. */
  private final BitSet holes = new BitSet();

  /** Written since the last flush was issued, and not flushed. */
  private final BitSet written = new BitSet();

  /** What the flush under way will make durable. */
  private final BitSet flushing = new BitSet();

  /** Written to, or perhaps: a zero block there must be written as zeroes. */
  private final BitSet touched = new BitSet();

  /** Sent whole by this copy, so that the destination has them as its own. */
  private final BitSet sentWhole = new BitSet();

  /** Written to, or perhaps, by this copy. */
  private final BitSet writtenHere = new BitSet();

  BlockBooks(DirtyLog log) {
    this.map = log.map();
    this.log = log;
    this.dirty = log.marked();
    if (log.begun()) {
      touched.set(0, map.count()); // by an earlier life, for all that is known
    }
  }

  // ---- the durable log

  /** Whether the log says that the destination was written to, or may have been. */
  boolean begun() {
    return log.begun();
  }

  /** Completes when the marks are durable, on any thread. */
  CompletableFuture<Void> mark(int first, int end) {
    return log.mark(first, end);
  }

  /** Marks ranges dirty; completes when that is durable, on any thread. */
  CompletableFuture<Void> addDirty(List<Range> ranges) {
    List<CompletableFuture<Void>> marks = new ArrayList<>();
    for (Range range : ranges) {
      map.check(range.offset(), range.length());
      int first = map.first(range);
      int end = map.end(range);
      setDirty(first, end);
      marks.add(log.mark(first, end));
    }
    return CompletableFuture.allOf(marks.toArray(CompletableFuture[]::new));
  }

  /** The same for ranges of zeroes, as far as they are not dirty otherwise. */
  CompletableFuture<Void> addHoles(List<Range> ranges) {
    List<CompletableFuture<Void>> marks = new ArrayList<>();
    for (Range range : ranges) {
      map.check(range.offset(), range.length());
      int first = map.blockFrom(range.offset());
      int end = range.end() == map.size() ? map.count() : map.blockOf(range.end());
      for (int at = dirty.nextClearBit(first); at < end; ) {
        int stop = dirty.nextSetBit(at);
        int to = stop < 0 || stop > end ? end : stop;
        dirty.set(at, to);
        holes.set(at, to);
        marks.add(log.mark(at, to));
        at = dirty.nextClearBit(to);
      }
    }
    return CompletableFuture.allOf(marks.toArray(CompletableFuture[]::new));
  }

  // ---- what is to be sent

  void setDirty(int first, int end) {
    dirty.set(first, end);
    holes.clear(first, end);
  }

  /** A guest writes there: no longer known to be zeroes. */
  void notHoles(int first, int end) {
    holes.clear(first, end);
  }

  void clean(int first, int end) {
    dirty.clear(first, end);
    holes.clear(first, end);
  }

  boolean allDirty(int first, int end) {
    return dirty.nextClearBit(first) >= end;
  }

  /** The first dirty block at or after one; −1 when there is none. */
  int nextDirty(int from) {
    return dirty.nextSetBit(from);
  }

  boolean isHole(int block) {
    return holes.get(block);
  }

  /** The end of the run of dirty blocks of one kind, holes or not, that begins at a block. */
  int endOfRun(int first) {
    int end = dirty.nextClearBit(first);
    int kindEnds = isHole(first) ? holes.nextClearBit(first) : holes.nextSetBit(first);
    return kindEnds > first ? Math.min(end, kindEnds) : end;
  }

  /** Bytes that are to be sent, an upper estimate by less than a block. */
  long dirtyBytes() {
    return (long) dirty.cardinality() * map.blockSize();
  }

  boolean nothingDirty() {
    return dirty.isEmpty();
  }

  // ---- what was written

  /** A guest's write is about to be sent, whose first and last block it may cover in part. */
  void touch(int first, int end) {
    touched.set(first, end);
    writtenHere.set(first, end);
  }

  /** All of the blocks is about to be sent; should that fail they are dirty again. */
  void sendWhole(int first, int end) {
    touched.set(first, end);
    writtenHere.set(first, end);
    sentWhole.set(first, end);
  }

  boolean sentWhole(int block) {
    return sentWhole.get(block);
  }

  boolean untouched(int block) {
    return !touched.get(block);
  }

  /** Whether this copy has written it, or perhaps: another one before it does not count. */
  boolean writtenHere(int block) {
    return writtenHere.get(block);
  }

  /** All of these. */
  void addWrittenHere(BitSet to) {
    to.or(writtenHere);
  }

  /** Both disks have it, and a flush that is issued from now on makes it durable. */
  void arrived(int first, int end) {
    written.set(first, end);
  }

  void flushIssued() {
    flushing.or(written);
    written.clear();
  }

  /** Takes from the log what the flush made the same on both disks. */
  void flushed(List<Flight> inFlight) {
    BitSet agreed = (BitSet) flushing.clone();
    flushing.clear();
    agreed.andNot(dirty);
    agreed.andNot(written);
    for (Flight flight : inFlight) {
      agreed.clear(flight.firstBlock, flight.endBlock);
    }
    log.clear(agreed);
  }

  /** The source could not flush: the next flush counts for this one too. */
  void flushFailedHere() {
    written.or(flushing);
    flushing.clear();
  }

  /** Which of the writes at the destination it was that did not become durable is unknown. */
  void sendUnflushedAgain() {
    dirty.or(flushing);
    dirty.or(written);
    forgetUnflushed();
  }

  void forgetUnflushed() {
    flushing.clear();
    written.clear();
  }

  // ---- whether they agree

  /** Nothing dirty or unflushed, and the log empty. */
  boolean agree() {
    return dirty.isEmpty() && written.isEmpty() && flushing.isEmpty() && log.marked().isEmpty();
  }

  String describe(int inFlight) {
    return "%d dirty, %d in flight, %d unflushed, %d in the log"
        .formatted(
            dirty.cardinality(),
            inFlight,
            written.cardinality() + flushing.cardinality(),
            log.marked().cardinality());
  }
}
