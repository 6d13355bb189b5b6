package io.xenferry.simulation;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Extent;
import io.xenferry.migration.state.MigrationId;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A simulated disk as a block backend: at once for a local disk, over the network for an exported
 * one, where a write may take effect late, or not, and the answer be lost.
 */
final class SimBackend implements BlockBackend {
  private static final Runnable NOTHING = () -> {};

  private enum Kind {
    READ,
    WRITE,
    FLUSH
  }

  private final String name;
  private final SimDisk disk;
  private final World world;
  private final MigrationId migration;
  private final @Nullable SimHost peer;
  private final BooleanSupplier usable;
  private boolean closed;

  /**
   * @param migration whose copy uses it
   * @param peer the host that exports it; null for a local one
   * @param usable whether a request may still take effect when it reaches the disk
   */
  SimBackend(
      String name,
      SimDisk disk,
      World world,
      MigrationId migration,
      @Nullable SimHost peer,
      BooleanSupplier usable) {
    this.name = name;
    this.disk = disk;
    this.world = world;
    this.migration = migration;
    this.peer = peer;
    this.usable = usable;
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
  public int alignment() {
    return SimDisk.BLOCK;
  }

  @Override
  public int maxTransfer() {
    return 1 << 20;
  }

  @Override
  public boolean readOnly() {
    return peer == null;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return act(
        Kind.READ,
        NOTHING,
        () -> {
          int block = (int) (offset / SimDisk.BLOCK);
          while (into.hasRemaining()) {
            int at = into.position();
            into.putLong(disk.blocks[block++]);
            while (into.position() < at + SimDisk.BLOCK) {
              into.putLong(0);
            }
          }
        });
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    int first = (int) (offset / SimDisk.BLOCK);
    long[] records = new long[from.remaining() / SimDisk.BLOCK];
    for (int i = 0; i < records.length; i++) {
      records[i] = from.getLong(from.position() + i * SimDisk.BLOCK);
    }
    return act(
        Kind.WRITE,
        () -> put(first, records, records.length / 2),
        () -> put(first, records, records.length));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    int first = (int) (offset / SimDisk.BLOCK);
    long[] zeroes = new long[(int) (length / SimDisk.BLOCK)];
    return act(
        Kind.WRITE,
        () -> put(first, zeroes, zeroes.length / 2),
        () -> put(first, zeroes, zeroes.length));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return CompletableFuture.completedFuture(null);
  }

  @Override
  public CompletableFuture<Void> flush() {
    return act(Kind.FLUSH, NOTHING, disk::flush);
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return CompletableFuture.completedFuture(List.of(new Extent(offset, length, false)));
  }

  @Override
  public void close() {
    closed = true;
  }

  private void put(int first, long[] records, int count) {
    for (int i = 0; i < count; i++) {
      disk.write(first + i, records[i]);
    }
  }

  /**
   * @param half what a write that stops in its middle does
   */
  private CompletableFuture<Void> act(Kind kind, Runnable half, Runnable effect) {
    SimHost exporting = peer;
    if (exporting == null) {
      if (!usable.getAsBoolean()) {
        return CompletableFuture.failedFuture(
            new BlockException(BlockException.Kind.LOST, "nobody offers the disk any more"));
      }
      if (world.due(Fault.DISK_ERROR, migration)) {
        world.count("disk errors");
        return CompletableFuture.failedFuture(
            new BlockException(BlockException.Kind.IO, "the source's disk cannot be read"));
      }
      effect.run();
      return CompletableFuture.completedFuture(null);
    }
    CompletableFuture<Void> done = new CompletableFuture<>();
    // The request is with the target's own process from here on: it outlives the server.
    world.later(
        world.latency(2),
        () -> {
          if (closed || !usable.getAsBoolean() || world.cut()) {
            done.completeExceptionally(
                new BlockException(BlockException.Kind.LOST, "the export is not reachable"));
            return;
          }
          BlockException.Kind broken = disk.broken;
          if (broken != null) {
            done.completeExceptionally(new BlockException(broken, "sense of the target"));
            return;
          }
          BlockException failure = kind == Kind.READ ? null : failure(exporting, kind, half);
          if (failure != null) {
            done.completeExceptionally(failure);
            return;
          }
          effect.run();
          if (world.due(Fault.BLOCK_ANSWER_LOST, migration)) {
            world.count("block answers lost");
            done.completeExceptionally(
                new BlockException(BlockException.Kind.LOST, "the answer was lost"));
          } else {
            world.later(world.latency(1), () -> done.complete(null));
          }
        });
    return done;
  }

  /** After a flush that failed nothing more is durable than before. */
  private @Nullable BlockException failure(SimHost exporting, Kind kind, Runnable half) {
    if (exporting.isFull()) {
      world.count(kind == Kind.FLUSH ? "flushes of a full SR" : "writes to a full SR");
      world.met(Fault.SR_FULL, migration);
      return new BlockException(BlockException.Kind.NO_SPACE, "the SR is full");
    }
    if (world.due(Fault.DISK_ERROR, migration)) {
      world.count(kind == Kind.FLUSH ? "flushes that failed" : "disk errors");
      return new BlockException(BlockException.Kind.IO, "the destination's disk cannot be written");
    }
    if (kind == Kind.WRITE && world.due(Fault.SHORT_WRITE, migration)) {
      world.count("short writes");
      half.run();
      return new BlockException(BlockException.Kind.IO, "a part was written");
    }
    return null;
  }
}
