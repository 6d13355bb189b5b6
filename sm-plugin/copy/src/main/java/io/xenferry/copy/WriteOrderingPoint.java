package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Range;
import io.xenferry.copy.Flight.GuestWrite;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
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
 *   <li>Where the destination has only what differs from a layer below, a guest's write that covers
 *       part of a block which was never sent goes to the source alone: the copier brings the block.
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
   * @param relayDeadline after which a mirror that gives no sign of life, because this process has
   *     stopped, is cut off from outside
   */
  public record Timing(Duration mirrorDeadline, Duration fenceDeadline, Duration relayDeadline) {
    /**
     * 250 ms is well below what guests take for a hang; 10 s is within iSCSI's usual time-outs; 2 s
     * is more than any pause of a garbage collector, and less than a guest's patience.
     */
    public static final Timing DEFAULT =
        new Timing(Duration.ofMillis(250), Duration.ofSeconds(10), Duration.ofSeconds(2));
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
    UNFLUSHED_FORGOTTEN,
    DEAD_MIRROR_COVERS,
    SINK_STAYS_OPEN,
    PARTS_OF_UNSENT_BLOCKS,
    /** What a destination held before it was reset counts still. */
    TOLD_BEFORE_LOSS
  }

  /** A flush may have gigabytes to bring to a slow disk: so many times a write's deadline. */
  private static final int FLUSH_PATIENCE = 6;

  private final String name;
  private final BlockMap map;
  private final BlockBooks books;
  private final GuestWrites guest;
  private final Flushes flushes;
  private final @Nullable BlockBackend guestDisk;
  private final Scheduler scheduler;
  private final Timing timing;
  private final Listener listener;
  private final Copier copier;
  private final Unverified unverified;
  private final List<Flight> inFlight = new ArrayList<>();

  private @Nullable Destination destination;
  private long lastGeneration = Long.MIN_VALUE;
  private Policy policy = Policy.LOG_DIRTY;
  private boolean watching;
  private boolean logFailed;
  private boolean layered;
  private @Nullable Comparison comparison;
  Set<Defect> defects = EnumSet.noneOf(Defect.class);

  /**
   * @param guestDisk the source disk that guest's writes are written to; empty where the hypervisor
   *     has written them itself before it hands them over
   */
  public WriteOrderingPoint(
      String name,
      DirtyLog log,
      Optional<BlockBackend> guestDisk,
      Scheduler scheduler,
      Timing timing,
      Listener listener) {
    this.name = name;
    this.map = log.map();
    this.books = new BlockBooks(log);
    this.guestDisk = guestDisk.orElse(null);
    this.scheduler = scheduler;
    this.timing = timing;
    this.listener = listener;
    this.guest = new GuestWrites(this, books, guestDisk, scheduler, timing);
    this.flushes = new Flushes(this, books, guestDisk, scheduler);
    this.copier = new Copier(this, map, scheduler);
    this.unverified = new Unverified(this, books);
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
   * From now on the destination is one of layers: a block that was never written shows what lies
   * below, and one that is written in part has zeroes for its rest. So the first write to a block
   * brings all of it.
   */
  void layeredDestination() {
    layered = true;
  }

  boolean destinationIsLayered() {
    return layered && !defects.contains(Defect.PARTS_OF_UNSENT_BLOCKS);
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
    return onScheduler(books.addDirty(ranges));
  }

  /**
   * Marks ranges dirty that the source says are zeroes, so that they need not be read; only blocks
   * that lie within a range whole and are not dirty otherwise.
   */
  public CompletableFuture<Void> addHoles(List<Range> ranges) {
    return onScheduler(books.addHoles(ranges));
  }

  /** Bytes that are to be sent, an upper estimate by less than a block. */
  public long dirtyBytes() {
    return books.dirtyBytes();
  }

  /** Nothing dirty, in flight or unflushed, and the log empty: both disks are the same. */
  public boolean booksAgree() {
    return inFlight.isEmpty() && books.agree();
  }

  /** What disagrees, for an error message. */
  public String books() {
    return name + ": " + books.describe(inFlight.size());
  }

  /** Whether nothing is to be sent and nothing is under way. */
  public boolean settled() {
    return books.nothingDirty() && inFlight.isEmpty();
  }

  // ---- the guest's side

  /**
   * A guest's write. The buffer must stay until the answer; a write that was answered because the
   * destination stalled may send later content of it, to blocks that are dirty.
   */
  public CompletableFuture<Void> guestWrite(long offset, ByteBuffer from) {
    return guest.submit(GuestWrite.Kind.WRITE, offset, from.remaining(), from);
  }

  public CompletableFuture<Void> guestZero(long offset, long length) {
    return guest.submit(GuestWrite.Kind.ZERO, offset, length, null);
  }

  /** Goes to the source; what it discards counts as dirty, since nobody knows what it reads as. */
  public CompletableFuture<Void> guestTrim(long offset, long length) {
    return guest.submit(GuestWrite.Kind.TRIM, offset, length, null);
  }

  /** A flush of the source; the destination's own follows at the points that matter to the log. */
  public CompletableFuture<Void> guestFlush() {
    BlockBackend disk = guestDisk;
    return disk == null ? CompletableFuture.completedFuture(null) : onScheduler(disk.flush());
  }

  /** What is under way, guest's writes and transfers, in order of their beginning. */
  List<Flight> inFlight() {
    return inFlight;
  }

  long lastGeneration() {
    return lastGeneration;
  }

  boolean hasDefect(Defect defect) {
    return defects.contains(defect);
  }

  boolean logHasFailed() {
    return logFailed;
  }

  /** Mirroring ends; guest's writes go to the source alone. */
  void fallBack(String reason) {
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
    for (int first = books.nextDirty(from); first >= 0; first = books.nextDirty(first)) {
      boolean hole = books.isHole(first);
      int end = Math.min(books.endOfRun(first), first + (hole ? maxHoleBlocks : maxBlocks));
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
        unverified.writing(first, end);
        if (!defects.contains(Defect.CLEARED_AFTER_READ)) {
          books.clean(first, end);
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
      books.arrived(transfer.firstBlock, transfer.endBlock);
      unverified.arrived(transfer.firstBlock, transfer.endBlock);
    } else if (!(transfer.lost && defects.contains(Defect.REPLAYED_AFTER_LOSS))) {
      books.setDirty(transfer.firstBlock, transfer.endBlock);
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
    return books.untouched(block) || defects.contains(Defect.ZEROES_ALWAYS_SKIPPED);
  }

  void sending(int first, int end) {
    books.sendWhole(first, end);
  }

  void afterRead(Transfer transfer) {
    if (defects.contains(Defect.CLEARED_AFTER_READ)) {
      books.clean(transfer.firstBlock, transfer.endBlock);
    }
  }

  /** What was written and is yet to be compared. */
  Unverified unverified() {
    return unverified;
  }

  boolean writtenHere(int block) {
    return books.writtenHere(block);
  }

  /** From now on the copier asks what the destination holds before it sends; null for no more. */
  void compare(@Nullable Comparison with) {
    comparison = with;
  }

  @Nullable Comparison comparison() {
    return comparison;
  }

  // ---- flush, loss

  /**
   * Flushes both disks and takes from the log what that makes the same on both.
   *
   * @return completes with false when a disk failed, which the listener or the next pass handles;
   *     exceptionally when the source's flush failed
   */
  public CompletableFuture<Boolean> flushBoth() {
    return flushes.flushBoth();
  }

  void destinationFailed(BlockException failure) {
    if (CopyException.isDead(failure.kind()) && destination != null) {
      lose(failure.getMessage());
      listener.onDestinationLost(failure);
    }
  }

  private void lose(@Nullable String reason) {
    destination = null;
    if (defects.contains(Defect.UNFLUSHED_FORGOTTEN)) {
      books.forgetUnflushed();
    } else {
      books.sendUnflushedAgain();
    }
    fallBack("the destination was lost: " + reason);
    for (Flight flight : List.copyOf(inFlight)) {
      switch (flight) {
        case Transfer transfer -> copier.lost(transfer);
        case GuestWrite write -> guest.lost(write);
        default -> throw new IllegalStateException();
      }
    }
    flushes.lost();
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
    boolean busy = flushes.underWayFor() >= 0;
    if (flushes.underWayFor() >= FLUSH_PATIENCE * timing.fenceDeadline().toNanos()) {
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

  void logFailed(Throwable cause) {
    if (!logFailed) {
      logFailed = true;
      listener.onLogFailed(cause);
    }
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
