package io.xenferry.simulation;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import java.io.IOException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;

/** A guest's disk as the hypervisor offers it to the copy engine: a dirty bitmap per copy. */
final class SimSource implements SourceDisk {
  private final String name;
  private final SimDisk disk;
  private final BlockBackend content;
  private final BitSet tracker = new BitSet();

  private final BooleanSupplier offered;

  /**
   * @param offered whether who offers the disk is still there
   */
  SimSource(String name, SimDisk disk, World world, BooleanSupplier offered) {
    this.name = name;
    this.disk = disk;
    this.offered = offered;
    this.content = new SimBackend(name, disk, world, false, offered);
    for (int i = 0; i < disk.blocks.length; i++) {
      if (disk.blocks[i] != 0) {
        tracker.set(i);
      }
    }
    disk.trackers.add(tracker);
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
            if (!done) {
              tracker.or(dirty);
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
  public void close() {
    disk.trackers.remove(tracker);
  }
}
