package io.xenferry.copy;

import io.xenferry.block.Range;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A disk of which nobody notes the writes, and whose storage takes snapshots: late, not always, and
 * with contents that can be lost while they are read.
 */
final class FreezingDisk implements Snapshots {
  /** The one that is sent, and the one before it. */
  private static final int MOST = 2;

  private final SimulatedDisk disk;
  private final SimulatedScheduler scheduler;
  private final BlockMap map;
  private final Map<String, Frozen> taken = new LinkedHashMap<>();
  private BitSet sinceTaken = new BitSet();
  private Optional<String> last = Optional.empty();
  private Optional<String> lastSince = Optional.empty();
  private int number;

  /** Not two in a row: so many failures end a copy. */
  private boolean breaks;

  int givenBack;
  int most;

  /** A snapshot. */
  private static final class Frozen {
    final SimulatedDisk disk;

    /** What it has above each earlier one. */
    final Map<String, BitSet> above = new LinkedHashMap<>();

    final BitSet writtenSince = new BitSet();
    boolean removed;

    Frozen(SimulatedDisk disk) {
      this.disk = disk;
    }

    BitSet above(String earlier) {
      BitSet blocks = above.get(earlier);
      if (blocks == null) {
        throw new AssertionError(earlier + " is not below");
      }
      return blocks;
    }
  }

  FreezingDisk(SimulatedDisk disk, SimulatedScheduler scheduler, BlockMap map) {
    this.disk = disk;
    this.scheduler = scheduler;
    this.map = map;
  }

  void write(int offset, byte[] bytes) {
    int from = map.blockOf(offset);
    int to = map.blockFrom(offset + bytes.length);
    sinceTaken.set(from, to);
    taken.values().forEach(frozen -> frozen.writtenSince.set(from, to));
    System.arraycopy(bytes, 0, disk.content, offset, bytes.length);
  }

  /**
   * Whether the block was written since the last snapshot of which all was sent, so that a later
   * pass has it; conservative while a pass is being ended.
   */
  boolean answersFor(int block) {
    return lastSince.map(name -> get(name).writtenSince.get(block)).orElse(true);
  }

  /** Snapshots that nobody has removed yet. */
  long left() {
    return taken.values().stream().filter(frozen -> !frozen.removed).count();
  }

  private Frozen get(String name) {
    Frozen frozen = taken.get(name);
    if (frozen == null) {
      throw new AssertionError("no snapshot " + name);
    }
    return frozen;
  }

  private <T> CompletableFuture<T> soon(Supplier<T> what) {
    CompletableFuture<T> result = new CompletableFuture<>();
    scheduler.schedule(
        Duration.ofNanos(scheduler.random().nextInt(300_000)),
        () -> {
          if (scheduler.random().nextInt(12) == 0) {
            result.completeExceptionally(new IllegalStateException("the storage is busy"));
          } else {
            result.complete(what.get());
          }
        });
    return result;
  }

  @Override
  public String name() {
    return "noted";
  }

  @Override
  public long size() {
    return map.size();
  }

  @Override
  public CompletableFuture<String> take() {
    return soon(() -> {
      String name = "s" + ++number;
      SimulatedDisk copy = new SimulatedDisk(scheduler, (int) map.size(), 1);
      System.arraycopy(disk.content, 0, copy.content, 0, (int) map.size());
      Frozen frozen = new Frozen(copy);
      taken.forEach((earlier, it) -> frozen.above.put(earlier, (BitSet) it.writtenSince.clone()));
      taken.put(name, frozen);
      sinceTaken = new BitSet();
      most = Math.max(most, (int) left());
      if (left() > MOST) {
        throw new AssertionError(left() + " snapshots at once");
      }
      return name;
    });
  }

  @Override
  public CompletableFuture<Content> open(String snapshot, Optional<String> since) {
    return soon(() -> {
      Frozen frozen = get(snapshot);
      if (frozen.removed || since.isPresent() && get(since.get()).removed) {
        throw new AssertionError("removed, and used");
      }
      BitSet blocks = since.map(frozen::above).orElseGet(() -> allocated(frozen.disk));
      last = Optional.of(snapshot);
      lastSince = since;
      breaks = !breaks && scheduler.random().nextInt(5) == 0;
      if (breaks) {
        givenBack++;
        scheduler.schedule(
            Duration.ofNanos(scheduler.random().nextInt(1_500_000)), frozen.disk::breakConnections);
      }
      return new Content(frozen.disk.connect(), ranges(blocks));
    });
  }

  private BitSet allocated(SimulatedDisk of) {
    BitSet blocks = new BitSet();
    for (int at = 0; at < map.size(); at++) {
      if (of.content[at] != 0) {
        blocks.set(map.blockOf(at));
      }
    }
    return blocks;
  }

  private List<Range> ranges(BitSet blocks) {
    List<Range> ranges = new ArrayList<>();
    for (int from = blocks.nextSetBit(0); from >= 0; ) {
      int to = blocks.nextClearBit(from);
      ranges.add(new Range(map.offset(from), map.bytes(from, to)));
      from = blocks.nextSetBit(to);
    }
    return ranges;
  }

  @Override
  public CompletableFuture<Content> openStill(String since) {
    return soon(() -> {
      if (get(since).removed) {
        throw new AssertionError("removed, and used");
      }
      return new Content(disk.connect(), ranges(get(since).writtenSince));
    });
  }

  @Override
  public CompletableFuture<Void> done(Content content) {
    content.backend().close();
    return CompletableFuture.completedFuture(null);
  }

  @Override
  public CompletableFuture<Long> written() {
    return CompletableFuture.completedFuture((long) sinceTaken.cardinality() * map.blockSize());
  }

  @Override
  public CompletableFuture<Void> remove(String snapshot) {
    get(snapshot).removed = true;
    get(snapshot).disk.breakConnections();
    if (lastSince.equals(Optional.of(snapshot))) {
      lastSince = last;
    }
    return CompletableFuture.completedFuture(null);
  }

  @Override
  public void close() {}
}
