package io.xenferry.simulation;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.DirtyLog;
import io.xenferry.copy.SourceDisk;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.time.SimulatedScheduler;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/** A guest's disk as the hypervisor offers it to the copy engine: a dirty bitmap per copy. */
final class SimSource implements SourceDisk {
  private final String name;
  private final SimDisk disk;
  private final BlockBackend content;
  private final BitSet tracker = new BitSet();
  private final DirtyLog log;

  /** As the tracker, without what a mirror has brought to the destination. */
  private final BitSet owed = new BitSet();

  /** What a pass has taken from the tracker, and the log does not have yet. */
  private final BitSet passing = new BitSet();

  /** What the pass had that is under way. */
  private final BitSet frozen = new BitSet();

  private @Nullable SimDisk destination;

  private final BooleanSupplier offered;
  private final World world;
  private final MigrationId migration;
  private final SimulatedScheduler.Process server;

  /**
   * @param offered whether who offers the disk is still there
   * @param server whose end breaks the connections of its mirrors
   */
  SimSource(
      String name,
      SimDisk disk,
      DirtyLog log,
      World world,
      MigrationId migration,
      BooleanSupplier offered,
      SimulatedScheduler.Process server) {
    this.name = name;
    this.disk = disk;
    this.log = log;
    this.world = world;
    this.migration = migration;
    this.server = server;
    this.offered = offered;
    this.content = new SimBackend(name, disk, world, migration, null, offered);
    for (int i = 0; i < disk.blocks.length; i++) {
      if (disk.blocks[i] != 0) {
        tracker.set(i);
      }
    }
    owed.or(tracker);
    disk.trackers.add(tracker);
    disk.trackers.add(owed);
    disk.copies.add(this);
  }

  boolean isOf(MigrationId moving) {
    return migration.equals(moving) && offered.getAsBoolean();
  }

  /**
   * Goes on with what a server before this one has noted, if its log is worth anything; that has
   * the rest.
   */
  void takeUp(Optional<SimSource> before) {
    if (!log.begun()) {
      return;
    }
    tracker.clear();
    owed.clear();
    if (before.isPresent() && world.variant != Variant.BITMAP_FORGOTTEN_AT_A_RESTART) {
      tracker.or(before.get().tracker);
      tracker.or(before.get().frozen);
      owed.or(tracker);
    }
  }

  /** The destination may hold anything: what the first pass leaves out is to be zeroes there. */
  void sendsZeroesToo() {
    if (!log.begun()) {
      owed.set(0, disk.blocks.length);
    }
  }

  /** Where it is copied to. */
  void copiedTo(SimDisk target) {
    destination = target;
  }

  /**
   * Every block that is not the same on both disks has a dirty bit: at the hypervisor, in the pass
   * that has just begun, or in the log.
   */
  void inspect() {
    SimDisk to = destination;
    if (to == null || !server.alive()) {
      return;
    }
    BitSet logged = log.marked();
    passing.andNot(logged);
    for (int i = 0; i < disk.blocks.length; i++) {
      if (!disk.sameAs(to, i)) {
        world.check(
            logged.get(i) || owed.get(i) || passing.get(i),
            Invariant.DIRTY_BITS,
            name + " block " + i);
      }
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return disk.size();
  }

  @Override
  public CompletableFuture<Pass> beginPass() {
    if (!offered.getAsBoolean()) {
      return CompletableFuture.failedFuture(new IOException("the guest's process is gone"));
    }
    BitSet dirty = (BitSet) tracker.clone();
    tracker.clear();
    passing.or(owed);
    owed.clear();
    passing.or(dirty);
    frozen.or(dirty);
    List<Range> ranges = new ArrayList<>();
    for (int i = dirty.nextSetBit(0); i >= 0; i = dirty.nextSetBit(i)) {
      int end = dirty.nextClearBit(i);
      ranges.add(new Range((long) i * SimDisk.BLOCK, (long) (end - i) * SimDisk.BLOCK));
      i = end;
    }
    return CompletableFuture.completedFuture(
        new Pass() {
          @Override
          public BlockBackend content() {
            return content;
          }

          @Override
          public List<Range> ranges() {
            return ranges;
          }

          @Override
          public CompletableFuture<Void> end(boolean done) {
            frozen.clear();
            if (!done) {
              tracker.or(dirty);
              owed.or(dirty);
            }
            return CompletableFuture.completedFuture(null);
          }
        });
  }

  @Override
  public CompletableFuture<Long> dirtyBytes() {
    return CompletableFuture.completedFuture((long) tracker.cardinality() * SimDisk.BLOCK);
  }

  @Override
  public CompletableFuture<Mirror> mirror(BlockBackend sink, Duration patience) {
    CompletableFuture<Mirror> result = new CompletableFuture<>();
    world.scheduler.schedule(
        world.latency(2),
        () -> {
          if (!offered.getAsBoolean() || world.due(Fault.MIRROR_DIES, migration)) {
            result.completeExceptionally(new IllegalStateException("no mirror to be had"));
          } else {
            world.count("mirrors");
            SimMirror mirror = new SimMirror(sink);
            disk.mirrors.add(mirror);
            result.complete(mirror);
          }
        });
    return result;
  }

  @Override
  public void close() {
    disk.trackers.removeIf(bits -> bits == tracker || bits == owed);
    disk.copies.remove(this);
  }

  /** Hands over one write after another, as a hypervisor does with those to the same block. */
  private final class SimMirror implements Mirror, SimDisk.Mirrored {
    private final BlockBackend sink;
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private final CompletableFuture<Void> handedOver = new CompletableFuture<>();
    private final Deque<ByteBuffer> waiting = new ArrayDeque<>();
    private boolean busy;
    private boolean ending;

    SimMirror(BlockBackend sink) {
      this.sink = sink;
    }

    @Override
    public void write(int block, long record) {
      // The block's number stands behind its content.
      waiting.add(
          ByteBuffer.allocate(SimDisk.BLOCK + 8).putLong(0, record).putInt(SimDisk.BLOCK, block));
      next();
    }

    private void next() {
      ByteBuffer first = busy ? null : waiting.poll();
      if (first == null) {
        if (ending && !busy && disk.mirrors.remove(this)) {
          ended.complete(null);
          handedOver.complete(null);
        }
        return;
      }
      busy = true;
      world.scheduler.schedule(
          world.latency(1),
          () -> {
            if (!server.alive() || world.due(Fault.MIRROR_DIES, migration)) {
              die("the connection broke");
              return;
            }
            long offset = (long) first.getInt(SimDisk.BLOCK) * SimDisk.BLOCK;
            sink.write(offset, first.slice(0, SimDisk.BLOCK))
                .whenComplete((done, failure) -> {
                  busy = false;
                  if (failure == null) {
                    brought((int) (offset / SimDisk.BLOCK));
                    next();
                  } else {
                    die("a write failed");
                  }
                });
          });
    }

    /** The guest's write is answered. */
    private void brought(int block) {
      if (waiting.stream().noneMatch(write -> write.getInt(SimDisk.BLOCK) == block)) {
        owed.clear(block);
      }
    }

    @Override
    public void breaks() {
      die("the connection broke");
    }

    private void die(String reason) {
      if (disk.mirrors.remove(this)) {
        owed.or(tracker);
        world.count("mirrors died");
        waiting.clear();
        ended.completeExceptionally(new IllegalStateException(reason));
        handedOver.completeExceptionally(new IllegalStateException(reason));
      }
    }

    @Override
    public CompletableFuture<Void> ended() {
      return ended;
    }

    @Override
    public CompletableFuture<Void> end() {
      ending = true;
      world.scheduler.schedule(
          world.latency(1),
          () -> {
            if (offered.getAsBoolean()) {
              next();
            } else {
              die("the guest's process is gone");
            }
          });
      return handedOver;
    }

    @Override
    public void abort(String reason) {
      die(reason);
    }
  }
}
