package io.xenferry.simulation;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Extent;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;

/**
 * A simulated disk as a block backend: at once for a local disk, over the network for an exported
 * one, where a write may take effect late, or not, and the answer be lost.
 */
final class SimBackend implements BlockBackend {
  private final String name;
  private final SimDisk disk;
  private final World world;
  private final boolean remote;
  private final BooleanSupplier usable;
  private boolean closed;

  /**
   * @param usable whether a request may still take effect when it reaches the disk
   */
  SimBackend(String name, SimDisk disk, World world, boolean remote, BooleanSupplier usable) {
    this.name = name;
    this.disk = disk;
    this.world = world;
    this.remote = remote;
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
    return !remote;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return act(() -> {
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
    return act(() -> {
      for (int i = 0; i < records.length; i++) {
        disk.write(first + i, records[i]);
      }
    });
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return act(() -> {
      for (long at = offset; at < offset + length; at += SimDisk.BLOCK) {
        disk.write((int) (at / SimDisk.BLOCK), 0);
      }
    });
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return CompletableFuture.completedFuture(null);
  }

  @Override
  public CompletableFuture<Void> flush() {
    return act(disk::flush);
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return CompletableFuture.completedFuture(List.of(new Extent(offset, length, false)));
  }

  @Override
  public void close() {
    closed = true;
  }

  private CompletableFuture<Void> act(Runnable effect) {
    if (!remote) {
      if (!usable.getAsBoolean()) {
        return CompletableFuture.failedFuture(
            new BlockException(BlockException.Kind.LOST, "nobody offers the disk any more"));
      }
      effect.run();
      return CompletableFuture.completedFuture(null);
    }
    CompletableFuture<Void> done = new CompletableFuture<>();
    // The request is with the target's own process from here on: it outlives the server.
    world.later(
        world.latency(2),
        () -> {
          boolean lost = world.chance(world.faults.blockLoss());
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
          effect.run();
          if (lost) {
            world.count("block answers lost");
            done.completeExceptionally(
                new BlockException(BlockException.Kind.LOST, "the answer was lost"));
          } else {
            world.later(world.latency(1), () -> done.complete(null));
          }
        });
    return done;
  }
}
