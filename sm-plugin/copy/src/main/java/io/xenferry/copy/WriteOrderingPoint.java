package io.xenferry.copy;

import static java.util.Objects.requireNonNull;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Range;
import io.xenferry.copy.Flight.GuestWrite;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * The one object that every write to a destination disk passes, the guest's and the copier's.
 *
 * <p>What it guarantees: at every instant each block in which destination and source may differ is
 * marked in the durable log.
 *
 * <ul>
 *   <li>A guest's write is marked durably before it is issued to either disk. It goes to both disks
 *       (policy {@code MIRROR}) and holds its range until both have it, or to the source alone, and
 *       then its blocks are marked dirty again when the source has it.
 *   <li>The copier locks a run of blocks, clears their dirty bits, reads the source, writes the
 *       destination, unlocks. A guest's write that meets its lock goes to the source alone, so it
 *       never waits for the copier. Guest's writes that overlap each other wait for each other.
 *   <li>A block leaves the log after a flush of both disks that was issued after its last write
 *       completed, in the same generation of the destination, if untouched since.
 *   <li>When the destination is lost, all that was in flight and all since the last such flush is
 *       dirty again. Nothing is replayed, and nothing is written again before {@link #attach} hands
 *       over a new generation, which the caller does only after the old one is fenced.
 *   <li>A mirrored write that the destination does not answer in time is answered from the source,
 *       its blocks dirty, and the policy falls back to {@code LOG_DIRTY}.
 * </ul>
 *
 * <p>Confined to its scheduler: every method is called there, and futures it returns complete
 * there.
 */
public final class WriteOrderingPoint {

  /** What happens to a guest's write. */
  public enum Policy {
    /** To the source; the copier brings it later. */
    LOG_DIRTY,
    /** To both disks before it is answered. */
    MIRROR
  }

  /** What the owner must react to; called on the scheduler. */
  public interface Listener {
    /** The destination is of no use any more: fence it and attach another. */
    void onDestinationLost(BlockException cause);

    /** Mirroring ended by itself; the guest runs on and the log has what the destination lacks. */
    default void onFallback(String reason) {}

    /** The books cannot be kept any more: the destination must not be used. */
    void onLogFailed(Throwable cause);
  }

  /**
   * @param mirrorDeadline after which a mirrored write is answered without the destination
   * @param fenceDeadline after which a write without an answer makes the destination count as lost
   */
  public record Timing(Duration mirrorDeadline, Duration fenceDeadline) {
    /** 250 ms is well below what guests take for a hang; 10 s is within iSCSI's usual time-outs. */
    public static final Timing DEFAULT = new Timing(Duration.ofMillis(250), Duration.ofSeconds(10));
  }

  /** Ways to be wrong, for tests that must be able to fail. */
  enum Defect {
    COPIER_WITHOUT_LOCK,
    CLEARED_AFTER_READ,
    NOT_SET_AGAIN,
    LEAVES_LOG_WITHOUT_FLUSH,
    MARKED_LATE,
    REPLAYED_AFTER_LOSS,
    NOT_FENCED,
    ZEROES_ALWAYS_SKIPPED,
    UNFLUSHED_FORGOTTEN
  }

  /** A flush may have gigabytes to bring to a slow disk: so many times a write's deadline. */
  private static final int FLUSH_PATIENCE = 6;

  private final String name;
  private final BlockMap map;
  private final DirtyLog log;
  private final @Nullable BlockBackend guestDisk;
  private final Scheduler scheduler;
  private final Timing timing;
  private final Listener listener;
  private final @Nullable BlockDigests digests;
  private final Copier copier;
  private final List<Flight> inFlight = new ArrayList<>();

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

  private @Nullable Destination destination;
  private long lastGeneration = Long.MIN_VALUE;
  private Policy policy = Policy.LOG_DIRTY;
  private @Nullable CompletableFuture<Boolean> flush;
  private long flushIssued;
  private boolean watching;
  private boolean logFailed;
  Set<Defect> defects = EnumSet.noneOf(Defect.class);

  /**
   * @param guestDisk the source disk that guest's writes are written to; empty where the hypervisor
   *     has written them itself before it hands them over
   * @param digests whether to keep a checksum of each block sent
   */
  public WriteOrderingPoint(
      String name,
      DirtyLog log,
      Optional<BlockBackend> guestDisk,
      Scheduler scheduler,
      Timing timing,
      boolean digests,
      Listener listener) {
    this.name = name;
    this.map = log.map();
    this.log = log;
    this.guestDisk = guestDisk.orElse(null);
    this.scheduler = scheduler;
    this.timing = timing;
    this.listener = listener;
    this.digests = digests ? new BlockDigests(map.count()) : null;
    this.dirty = log.marked();
    if (log.begun()) {
      touched.set(0, map.count()); // by an earlier life, for all that is known
    }
    this.copier = new Copier(this, map, scheduler);
  }

  public String name() {
    return name;
  }

  public BlockMap map() {
    return map;
  }

  public Policy policy() {
    return policy;
  }

  /** Changes what happens to guest's writes from now on; MIRROR takes effect while attached. */
  public void policy(Policy policy) {
    this.policy = policy;
  }

  /**
   * Gives the point its destination.
   *
   * @param fresh of another generation than every one before, all of which are fenced
   * @throws IllegalStateException when one is attached, or the generation is not a new one
   */
  public void attach(Destination fresh) {
    if (destination != null || fresh.generation() == lastGeneration) {
      throw new IllegalStateException(name + ": generation " + fresh.generation());
    }
    inFlight.removeIf(flight -> {
      if (flight instanceof GuestWrite write && write.answered) {
        return true;
      }
      return flight instanceof Transfer transfer && transfer.finished;
    });
    destination = fresh;
    lastGeneration = fresh.generation();
  }

  public boolean attached() {
    return destination != null;
  }

  @Nullable Destination destination() {
    return destination;
  }

  /** Parts with the destination without a fault, to close it. */
  public void detach() {
    lose("detached");
  }

  /** Marks ranges dirty; completes when that is durable. */
  public CompletableFuture<Void> addDirty(List<Range> ranges) {
    List<CompletableFuture<Void>> marks = new ArrayList<>();
    for (Range range : ranges) {
      map.check(range.offset(), range.length());
      int first = map.first(range);
      int end = map.end(range);
      setDirty(first, end);
      marks.add(log.mark(first, end));
    }
    return onScheduler(CompletableFuture.allOf(marks.toArray(CompletableFuture[]::new)));
  }

  /**
   * Marks ranges dirty that the source says are zeroes, so that they need not be read; only blocks
   * that lie within a range whole and are not dirty otherwise.
   */
  public CompletableFuture<Void> addHoles(List<Range> ranges) {
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
    return onScheduler(CompletableFuture.allOf(marks.toArray(CompletableFuture[]::new)));
  }

  /** Bytes that are to be sent, an upper estimate by less than a block. */
  public long dirtyBytes() {
    return (long) dirty.cardinality() * map.blockSize();
  }

  /** Nothing dirty, in flight or unflushed, and the log empty: both disks are the same. */
  public boolean booksAgree() {
    return dirty.isEmpty()
        && inFlight.isEmpty()
        && written.isEmpty()
        && flushing.isEmpty()
        && log.marked().isEmpty();
  }

  /** What disagrees, for an error message. */
  public String books() {
    return "%s: %d dirty, %d in flight, %d unflushed, %d in the log"
        .formatted(
            name,
            dirty.cardinality(),
            inFlight.size(),
            written.cardinality() + flushing.cardinality(),
            log.marked().cardinality());
  }

  /** Whether nothing is to be sent and nothing is under way. */
  public boolean settled() {
    return dirty.isEmpty() && inFlight.isEmpty();
  }

  // ---- the guest's side

  /**
   * A guest's write. The buffer must stay until the answer; a write that was answered because the
   * destination stalled may send later content of it, to blocks that are dirty.
   */
  public CompletableFuture<Void> guestWrite(long offset, ByteBuffer from) {
    return guest(GuestWrite.Kind.WRITE, offset, from.remaining(), from);
  }

  public CompletableFuture<Void> guestZero(long offset, long length) {
    return guest(GuestWrite.Kind.ZERO, offset, length, null);
  }

  /** Goes to the source; what it discards counts as dirty, since nobody knows what it reads as. */
  public CompletableFuture<Void> guestTrim(long offset, long length) {
    return guest(GuestWrite.Kind.TRIM, offset, length, null);
  }

  /** A flush of the source; the destination's own follows at the points that matter to the log. */
  public CompletableFuture<Void> guestFlush() {
    BlockBackend disk = guestDisk;
    return disk == null ? CompletableFuture.completedFuture(null) : onScheduler(disk.flush());
  }

  private CompletableFuture<Void> guest(
      GuestWrite.Kind kind, long offset, long length, @Nullable ByteBuffer data) {
    if (offset < 0 || length < 0 || length > map.size() - offset) {
      return CompletableFuture.failedFuture(
          new BlockException(BlockException.Kind.OUT_OF_RANGE, offset + "+" + length));
    }
    if (length == 0) {
      return CompletableFuture.completedFuture(null);
    }
    GuestWrite write = new GuestWrite(map, kind, offset, length, data);
    write.waiting = blockedByGuest(write);
    inFlight.add(write);
    if (!write.waiting) {
      begin(write);
    }
    return write.answer;
  }

  /** Whether an earlier guest's write to the same bytes is not answered yet. */
  private boolean blockedByGuest(GuestWrite write) {
    for (Flight flight : inFlight) {
      if (flight == write) {
        return false;
      }
      if (flight instanceof GuestWrite earlier
          && !earlier.answered
          && earlier.overlapsBytes(write.offset, write.length)) {
        return true;
      }
    }
    return false;
  }

  private void begin(GuestWrite write) {
    write.mirrored = mayMirror(write);
    holes.clear(write.firstBlock, write.endBlock);
    if (!write.mirrored) {
      setDirty(write.firstBlock, write.endBlock);
    }
    if (defects.contains(Defect.MARKED_LATE)) {
      issue(write);
      log.mark(write.firstBlock, write.endBlock);
      return;
    }
    CompletableFuture<Void> mark = log.mark(write.firstBlock, write.endBlock);
    if (mark.isDone() && !mark.isCompletedExceptionally()) {
      issue(write);
    } else {
      mark.whenComplete((done, failure) ->
          scheduler.execute(() -> {
            if (failure != null) {
              logFailed(failure);
            }
            issue(write);
          }));
    }
  }

  private boolean mayMirror(GuestWrite write) {
    Destination to = destination;
    if (policy != Policy.MIRROR || to == null || logFailed || write.kind == GuestWrite.Kind.TRIM) {
      return false;
    }
    if (!log.begun()) {
      return false; // after a crash nobody would know that the destination was written to
    }
    long alignment = to.backend().alignment();
    if (write.offset % alignment != 0 || write.length % alignment != 0) {
      return false;
    }
    if (dirty.nextClearBit(write.firstBlock) >= write.endBlock) {
      return false; // the copier will bring all of it anyway
    }
    for (Flight flight : inFlight) {
      boolean inTheWay =
          switch (flight) {
            case Transfer transfer -> !defects.contains(Defect.COPIER_WITHOUT_LOCK);
            case GuestWrite other -> other.answered && other != write;
            default -> false;
          };
      if (inTheWay && flight.overlapsBlocks(write.firstBlock, write.endBlock)) {
        return false;
      }
    }
    return true;
  }

  private void issue(GuestWrite write) {
    Destination to = destination;
    if (write.mirrored && (to == null || logFailed)) {
      write.mirrored = false;
      setDirty(write.firstBlock, write.endBlock);
    }
    if (write.mirrored && to != null) {
      write.generation = to.generation();
      write.issued = scheduler.nanoTime();
      write.destinationWrites = 1;
      touched.set(write.firstBlock, write.endBlock);
      if (digests != null) {
        digests.forget(write.firstBlock, write.endBlock);
      }
      watch();
      request(to.backend(), write)
          .whenComplete((done, failure) ->
              scheduler.execute(
                  () -> destinationDone(write, CopyException.blockFailureOrNull(failure))));
      scheduler.schedule(timing.mirrorDeadline(), () -> mirrorOverdue(write));
    }
    BlockBackend disk = guestDisk;
    if (disk == null) {
      sourceDone(write, null);
    } else {
      request(disk, write)
          .whenComplete((done, failure) ->
              scheduler.execute(
                  () -> sourceDone(write, CopyException.blockFailureOrNull(failure))));
    }
  }

  private static CompletableFuture<Void> request(BlockBackend disk, GuestWrite write) {
    return switch (write.kind) {
      case WRITE -> disk.write(write.offset, requireNonNull(write.data).duplicate());
      case ZERO -> disk.zero(write.offset, write.length);
      case TRIM -> disk.trim(write.offset, write.length);
    };
  }

  private void sourceDone(GuestWrite write, @Nullable BlockException failure) {
    write.sourceDone = true;
    write.sourceFailure = failure;
    if (failure != null || (!write.mirrored && !defects.contains(Defect.NOT_SET_AGAIN))) {
      setDirty(write.firstBlock, write.endBlock);
    }
    if (write.mirrored && write.arrived && failure == null) {
      written.set(write.firstBlock, write.endBlock);
    }
    if (!write.mirrored || write.destinationWrites == 0 || write.overdue) {
      answer(write);
    }
  }

  private void destinationDone(GuestWrite write, @Nullable BlockException failure) {
    if (write.generation != lastGeneration || destination == null) {
      return; // settled when the destination was lost
    }
    write.destinationWrites = 0;
    write.arrived = failure == null;
    if (failure != null || write.answered) {
      setDirty(write.firstBlock, write.endBlock);
    } else if (write.sourceDone && write.sourceFailure == null) {
      // Only now: a flush of both disks must come after the write's completion on both.
      written.set(write.firstBlock, write.endBlock);
    }
    if (write.answered) {
      inFlight.remove(write);
    } else if (write.sourceDone) {
      answer(write);
    }
    if (failure != null) {
      fallBack("a mirrored write failed: " + failure.getMessage());
      destinationFailed(failure);
    }
  }

  private void mirrorOverdue(GuestWrite write) {
    if (write.destinationWrites == 0 || write.answered) {
      return;
    }
    write.overdue = true;
    setDirty(write.firstBlock, write.endBlock);
    fallBack("the destination did not answer a mirrored write in time");
    if (write.sourceDone) {
      answer(write);
    }
  }

  private void answer(GuestWrite write) {
    if (write.answered) {
      return;
    }
    write.answered = true;
    if (write.destinationWrites == 0) {
      inFlight.remove(write);
    }
    for (Flight flight : List.copyOf(inFlight)) {
      if (flight instanceof GuestWrite next && next.waiting && !blockedByGuest(next)) {
        next.waiting = false;
        begin(next);
      }
    }
    if (write.sourceFailure != null) {
      write.answer.completeExceptionally(write.sourceFailure);
    } else {
      write.answer.complete(null);
    }
  }

  private void fallBack(String reason) {
    if (policy == Policy.MIRROR) {
      policy = Policy.LOG_DIRTY;
      listener.onFallback(reason);
    }
  }

  // ---- the copier's side

  /**
   * Locks the next dirty run at or after the block and clears its dirty bits, or answers null when
   * there is none that may be sent now.
   */
  @Nullable Transfer lockNext(int from, int maxBlocks, int maxHoleBlocks) {
    Destination to = destination;
    if (to == null || logFailed) {
      return null;
    }
    for (int first = dirty.nextSetBit(from); first >= 0; first = dirty.nextSetBit(first)) {
      boolean hole = holes.get(first);
      int end = Math.min(dirty.nextClearBit(first), first + (hole ? maxHoleBlocks : maxBlocks));
      int kindEnds = hole ? holes.nextClearBit(first) : holes.nextSetBit(first);
      if (kindEnds > first) {
        end = Math.min(end, kindEnds);
      }
      int obstacleEnds = -1;
      for (Flight flight : inFlight) {
        if (flight.holdsDestination() && flight.overlapsBlocks(first, end)) {
          if (flight.firstBlock > first) {
            end = flight.firstBlock;
          } else {
            obstacleEnds = flight.endBlock;
            break;
          }
        }
      }
      if (obstacleEnds < 0) {
        Transfer transfer = new Transfer(map, first, end, hole);
        transfer.generation = to.generation();
        inFlight.add(transfer);
        if (!defects.contains(Defect.CLEARED_AFTER_READ)) {
          dirty.clear(first, end);
          holes.clear(first, end);
        }
        return transfer;
      }
      first = obstacleEnds;
    }
    return null;
  }

  /**
   * Sends a locked run.
   *
   * @param content where to read
   * @param buffer as large as the run; free again when the callback says that nothing holds it
   * @param skipZeroes whether blocks of zeroes that were never written need not be sent
   * @param done called once, on the scheduler; the transfer says what happened
   */
  void send(
      Transfer transfer,
      BlockBackend content,
      ByteBuffer buffer,
      boolean skipZeroes,
      Runnable done) {
    copier.send(transfer, content, buffer, skipZeroes, done);
  }

  /** The copier's end of a transfer, good or bad: unlocks it. */
  void unlock(Transfer transfer, boolean arrived) {
    if (transfer.finished) {
      return;
    }
    transfer.finished = true;
    if (arrived) {
      written.set(transfer.firstBlock, transfer.endBlock);
    } else if (!(transfer.lost && defects.contains(Defect.REPLAYED_AFTER_LOSS))) {
      setDirty(transfer.firstBlock, transfer.endBlock);
    }
    if (transfer.destinationWrites == 0) {
      inFlight.remove(transfer);
    }
  }

  /** The last write of a lost transfer completed after all. */
  void forget(Transfer transfer) {
    inFlight.remove(transfer);
  }

  boolean mayWrite(Transfer transfer) {
    Destination to = destination;
    return to != null && to.generation() == transfer.generation && !logFailed;
  }

  boolean untouched(int block) {
    return !touched.get(block) || defects.contains(Defect.ZEROES_ALWAYS_SKIPPED);
  }

  void touch(int first, int end) {
    touched.set(first, end);
  }

  void afterRead(Transfer transfer) {
    if (defects.contains(Defect.CLEARED_AFTER_READ)) {
      dirty.clear(transfer.firstBlock, transfer.endBlock);
      holes.clear(transfer.firstBlock, transfer.endBlock);
    }
  }

  @Nullable BlockDigests digests() {
    return digests;
  }

  // ---- flush, loss

  /**
   * Flushes both disks and takes from the log what that makes the same on both.
   *
   * @return completes with false when a disk failed, which the listener or the next pass handles;
   *     exceptionally when the source's flush failed
   */
  public CompletableFuture<Boolean> flushBoth() {
    CompletableFuture<Boolean> running = flush;
    if (running != null) {
      return running.handle((done, failure) -> done).thenCompose(done -> flushBoth());
    }
    Destination to = destination;
    if (to == null) {
      return CompletableFuture.completedFuture(false);
    }
    flushing.or(written);
    written.clear();
    if (defects.contains(Defect.LEAVES_LOG_WITHOUT_FLUSH)) {
      leaveLog();
    }
    CompletableFuture<Boolean> result = new CompletableFuture<>();
    flush = result;
    flushIssued = scheduler.nanoTime();
    watch();
    BlockBackend disk = guestDisk;
    CompletableFuture<Void> source =
        disk == null ? CompletableFuture.completedFuture(null) : disk.flush();
    CompletableFuture<Void> there = to.backend().flush();
    CompletableFuture.allOf(
            source.handle((done, failure) -> done), there.handle((done, failure) -> done))
        .whenComplete((done, failure) ->
            scheduler.execute(() -> flushed(to.generation(), source, there, result)));
    return result;
  }

  private void flushed(
      long generation,
      CompletableFuture<Void> source,
      CompletableFuture<Void> there,
      CompletableFuture<Boolean> result) {
    if (flush != result) {
      return; // the destination was lost meanwhile
    }
    flush = null;
    if (there.isCompletedExceptionally()) {
      // Which write it was that did not become durable is unknown: all of them again.
      dirty.or(flushing);
      dirty.or(written);
      flushing.clear();
      written.clear();
      destinationFailed(CopyException.blockFailure(there.exceptionNow()));
      result.complete(false);
    } else if (source.isCompletedExceptionally()) {
      written.or(flushing);
      flushing.clear();
      result.completeExceptionally(source.exceptionNow());
    } else {
      leaveLog();
      result.complete(true);
    }
  }

  private void leaveLog() {
    BitSet agreed = (BitSet) flushing.clone();
    flushing.clear();
    agreed.andNot(dirty);
    agreed.andNot(written);
    for (Flight flight : inFlight) {
      agreed.clear(flight.firstBlock, flight.endBlock);
    }
    log.clear(agreed);
  }

  void destinationFailed(BlockException failure) {
    if (CopyException.isDead(failure.kind()) && destination != null) {
      lose(failure.getMessage());
      listener.onDestinationLost(failure);
    }
  }

  private void lose(@Nullable String reason) {
    destination = null;
    if (!defects.contains(Defect.UNFLUSHED_FORGOTTEN)) {
      dirty.or(written);
      dirty.or(flushing);
    }
    written.clear();
    flushing.clear();
    fallBack("the destination was lost: " + reason);
    for (Flight flight : List.copyOf(inFlight)) {
      switch (flight) {
        case Transfer transfer -> copier.lost(transfer);
        case GuestWrite write -> {
          if (write.destinationWrites > 0 || write.arrived) {
            write.destinationWrites = 0;
            write.arrived = false;
            setDirty(write.firstBlock, write.endBlock);
            write.mirrored = false;
            if (write.answered) {
              inFlight.remove(write);
            } else if (write.sourceDone) {
              answer(write);
            }
          }
        }
        default -> throw new IllegalStateException();
      }
    }
    CompletableFuture<Boolean> running = flush;
    flush = null;
    if (running != null) {
      running.complete(false);
    }
  }

  /** Watches for writes that get no answer at all. */
  void watch() {
    if (!watching) {
      watching = true;
      scheduler.schedule(timing.fenceDeadline().dividedBy(4), this::lookForOverdue);
    }
  }

  private void lookForOverdue() {
    watching = false;
    if (destination == null) {
      return;
    }
    long now = scheduler.nanoTime();
    boolean busy = flush != null;
    if (busy && now - flushIssued >= FLUSH_PATIENCE * timing.fenceDeadline().toNanos()) {
      destinationFailed(
          new BlockException(BlockException.Kind.TIMEOUT, name + ": a flush was not answered"));
      return;
    }
    for (Flight flight : inFlight) {
      if (flight.destinationWrites > 0) {
        busy = true;
        if (now - flight.issued >= timing.fenceDeadline().toNanos()) {
          destinationFailed(
              new BlockException(
                  BlockException.Kind.TIMEOUT, name + ": a write was not answered in time"));
          return;
        }
      }
    }
    if (busy) {
      watch();
    }
  }

  private void logFailed(Throwable cause) {
    if (!logFailed) {
      logFailed = true;
      listener.onLogFailed(cause);
    }
  }

  private void setDirty(int first, int end) {
    dirty.set(first, end);
    holes.clear(first, end);
  }

  private CompletableFuture<Void> onScheduler(CompletableFuture<Void> future) {
    CompletableFuture<Void> result = new CompletableFuture<>();
    future.whenComplete((done, failure) ->
        scheduler.execute(() -> {
          if (failure != null) {
            result.completeExceptionally(failure);
          } else {
            result.complete(null);
          }
        }));
    return result;
  }
}
