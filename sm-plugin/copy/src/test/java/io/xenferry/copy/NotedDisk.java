package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** A disk whose hypervisor notes the guest's writes itself, as QEMU does with dirty bitmaps. */
final class NotedDisk implements SourceDisk {
  final SimulatedDisk disk;
  private final SimulatedScheduler scheduler;
  private final BlockMap map;
  private final BitSet noted = new BitSet();
  private BitSet handedOut = new BitSet();
  private boolean first = true;
  private int number;

  NotedDisk(SimulatedDisk disk, SimulatedScheduler scheduler, BlockMap map) {
    this.disk = disk;
    this.scheduler = scheduler;
    this.map = map;
  }

  /** Whether the hypervisor still answers for the block. */
  boolean answersFor(int block) {
    return first || noted.get(block) || handedOut.get(block);
  }

  /** What a driver does that finds the bitmap of a pass that its predecessor did not end. */
  private void takeBack() {
    noted.or(handedOut);
    handedOut = new BitSet();
  }

  /** A guest's write, at once. */
  void write(int offset, byte[] bytes) {
    noted.set(map.blockOf(offset), map.blockFrom(offset + bytes.length));
    System.arraycopy(bytes, 0, disk.content, offset, bytes.length);
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
  public CompletableFuture<Pass> beginPass() {
    CompletableFuture<Pass> result = new CompletableFuture<>();
    scheduler.schedule(
        Duration.ofNanos(scheduler.random().nextInt(300_000)),
        () -> {
          takeBack(); // of a pass that a killed server did not end
          BitSet now = (BitSet) noted.clone();
          if (first) {
            for (int block = 0; block < map.count(); block++) {
              for (long at = map.offset(block);
                  at < map.offset(block) + map.bytes(block, block + 1);
                  at++) {
                if (disk.content[(int) at] != 0) {
                  now.set(block);
                }
              }
            }
          }
          boolean wasFirst = first;
          int mine = ++number;
          noted.clear();
          handedOut = now;
          List<Range> ranges = new ArrayList<>();
          for (int from = now.nextSetBit(0); from >= 0; ) {
            int to = now.nextClearBit(from);
            ranges.add(new Range(map.offset(from), map.bytes(from, to)));
            from = now.nextSetBit(to);
          }
          BlockBackend content = disk.connect();
          result.complete(
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
                  content.close();
                  if (mine != number) {
                    return CompletableFuture.completedFuture(null);
                  }
                  if (!done) {
                    noted.or(now);
                  } else if (wasFirst) {
                    first = false;
                  }
                  handedOut = new BitSet();
                  return CompletableFuture.completedFuture(null);
                }
              });
        });
    return result;
  }

  @Override
  public CompletableFuture<Long> dirtyBytes() {
    return CompletableFuture.completedFuture((long) noted.cardinality() * map.blockSize());
  }

  @Override
  public void close() {}
}
