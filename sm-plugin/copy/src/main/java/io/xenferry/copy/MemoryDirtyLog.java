package io.xenferry.copy;

import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A dirty log in memory: for the simulation, where it takes time to become durable and loses what
 * has not; and for copies that need not survive the process.
 */
public final class MemoryDirtyLog implements DirtyLog {
  private final BlockMap map;
  private final Scheduler scheduler;
  private final Supplier<Duration> latency;
  private final BitSet current = new BitSet();
  private final BitSet durable = new BitSet();
  private List<CompletableFuture<Void>> waiters = new ArrayList<>();
  private boolean writing;
  private boolean begun;
  private boolean durablyBegun;

  /** A log whose marks are durable at once. */
  public static MemoryDirtyLog immediate(BlockMap map, Scheduler scheduler) {
    return new MemoryDirtyLog(map, scheduler, () -> Duration.ZERO);
  }

  /**
   * @param latency of one batch of marks
   */
  public MemoryDirtyLog(BlockMap map, Scheduler scheduler, Supplier<Duration> latency) {
    this.map = map;
    this.scheduler = scheduler;
    this.latency = latency;
  }

  @Override
  public BlockMap map() {
    return map;
  }

  @Override
  public CompletableFuture<Void> mark(int first, int end) {
    current.set(first, end);
    if (durable.nextClearBit(first) >= end) {
      return CompletableFuture.completedFuture(null);
    }
    return write();
  }

  @Override
  public void clear(BitSet blocks) {
    current.andNot(blocks);
    durable.andNot(blocks);
  }

  @Override
  public BitSet marked() {
    return (BitSet) current.clone();
  }

  @Override
  public CompletableFuture<Void> sync() {
    return write();
  }

  @Override
  public boolean begun() {
    return begun;
  }

  @Override
  public CompletableFuture<Void> begin() {
    begun = true;
    return write();
  }

  /** Whether all blocks of the range are marked on stable storage. */
  public boolean isDurable(int first, int end) {
    return durable.nextClearBit(first) >= end;
  }

  /** What a process started after a crash at this instant finds. */
  public MemoryDirtyLog afterCrash() {
    return afterCrash(scheduler);
  }

  /** The same, where what had written it is gone with its own clock. */
  public MemoryDirtyLog afterCrash(Scheduler next) {
    MemoryDirtyLog survivor = new MemoryDirtyLog(map, next, latency);
    survivor.current.or(durable);
    survivor.durable.or(durable);
    survivor.begun = durablyBegun;
    survivor.durablyBegun = durablyBegun;
    return survivor;
  }

  @Override
  public void close() {}

  private CompletableFuture<Void> write() {
    CompletableFuture<Void> done = new CompletableFuture<>();
    waiters.add(done);
    if (!writing) {
      startBatch();
    }
    return done;
  }

  private void startBatch() {
    writing = true;
    Duration delay = latency.get();
    List<CompletableFuture<Void>> batch = waiters;
    waiters = new ArrayList<>();
    Runnable finish =
        () -> {
          durable.or(current);
          durablyBegun = begun;
          writing = false;
          if (!waiters.isEmpty()) {
            startBatch();
          }
          batch.forEach(waiter -> waiter.complete(null));
        };
    if (delay.isZero()) {
      finish.run();
    } else {
      scheduler.schedule(delay, finish);
    }
  }
}
