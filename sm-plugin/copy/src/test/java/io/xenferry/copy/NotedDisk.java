package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.time.SimulatedScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A disk whose hypervisor notes the guest's writes itself, as QEMU does with dirty bitmaps. */
final class NotedDisk implements SourceDisk {
  final SimulatedDisk disk;
  private final SimulatedScheduler scheduler;
  private final BlockMap map;
  private final BitSet noted = new BitSet();
  private BitSet handedOut = new BitSet();
  private boolean first = true;
  private int number;
  private int life;
  private @Nullable NotedMirror mirror;

  /**
   * In which blocks the disk differs at first from what the destination has below; null for all.
   */
  @Nullable BitSet differs;

  NotedDisk(SimulatedDisk disk, SimulatedScheduler scheduler, BlockMap map) {
    this.disk = disk;
    this.scheduler = scheduler;
    this.map = map;
  }

  /** Whether the hypervisor still answers for the block. */
  boolean answersFor(int block) {
    return first || noted.get(block) || handedOut.get(block);
  }

  /** Nobody knows any more what was handed out. */
  void forget() {
    first = true;
    noted.clear();
    handedOut = new BitSet();
  }

  /** What a driver does that finds the bitmap of a pass that its predecessor did not end. */
  private void takeBack() {
    noted.or(handedOut);
    handedOut = new BitSet();
  }

  /**
   * A guest's write: at once to the disk, then to the mirror if there is one, whose death answers
   * it. As in QEMU, writes to the same bytes are not mirrored at the same time: the second is left
   * out here.
   */
  CompletableFuture<Void> write(int offset, byte[] bytes) {
    NotedMirror to = mirror;
    Range range = new Range(offset, bytes.length);
    if (to != null && to.waiting.keySet().stream().anyMatch(other -> overlap(other, range))) {
      return CompletableFuture.completedFuture(null);
    }
    noted.set(map.blockOf(offset), map.blockFrom(offset + bytes.length));
    System.arraycopy(bytes, 0, disk.content, offset, bytes.length);
    return to == null ? CompletableFuture.completedFuture(null) : to.handOver(range, bytes);
  }

  private static boolean overlap(Range a, Range b) {
    return a.offset() < b.end() && b.offset() < a.end();
  }

  /** The connection of a mirror breaks: its target's process died, or somebody yanked it. */
  void breakMirror() {
    NotedMirror current = mirror;
    if (current != null) {
      current.die("broken");
    }
  }

  /** Nobody waits any more for a mirror that is just being begun. */
  void crash() {
    life++;
    breakMirror();
  }

  boolean mirrored() {
    return mirror != null;
  }

  @Override
  public CompletableFuture<Mirror> mirror(BlockBackend sink, Duration patience) {
    CompletableFuture<Mirror> result = new CompletableFuture<>();
    int asking = life;
    scheduler.schedule(
        Duration.ofNanos(scheduler.random().nextInt(300_000)),
        () -> {
          if (asking != life) {
            return;
          }
          if (scheduler.random().nextInt(10) == 0) {
            result.completeExceptionally(new IllegalStateException("no mirror to be had"));
            return;
          }
          if (mirror != null) {
            throw new AssertionError("mirrored twice");
          }
          NotedMirror fresh = new NotedMirror(sink);
          mirror = fresh;
          result.complete(fresh);
        });
    return result;
  }

  private final class NotedMirror implements Mirror {
    private final BlockBackend sink;
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    final Map<Range, CompletableFuture<Void>> waiting = new LinkedHashMap<>();
    private @Nullable CompletableFuture<Void> ending;
    private boolean dead;

    NotedMirror(BlockBackend sink) {
      this.sink = sink;
    }

    CompletableFuture<Void> handOver(Range range, byte[] bytes) {
      CompletableFuture<Void> answer = new CompletableFuture<>();
      waiting.put(range, answer);
      // On its way it may outlive the mirror.
      int delay = scheduler.random().nextInt(8) == 0 ? 3_000_000 : 200_000;
      scheduler.schedule(
          Duration.ofNanos(scheduler.random().nextInt(delay)),
          () ->
              sink.write(range.offset(), ByteBuffer.wrap(bytes))
                  .whenComplete((done, failure) -> {
                    if (failure != null) {
                      die("a write failed: " + failure);
                    }
                    answered(range);
                  }));
      return answer;
    }

    private void answered(Range range) {
      CompletableFuture<Void> answer = waiting.remove(range);
      if (answer != null) {
        answer.complete(null);
      }
      endWhenAllIsAnswered();
    }

    private void endWhenAllIsAnswered() {
      CompletableFuture<Void> asked = ending;
      if (asked != null && waiting.isEmpty() && !dead) {
        mirror = null;
        dead = true;
        asked.complete(null);
        ended.complete(null);
      }
    }

    void die(String reason) {
      if (dead) {
        return;
      }
      dead = true;
      mirror = null;
      waiting.values().forEach(answer -> answer.complete(null));
      waiting.clear();
      scheduler.schedule(
          Duration.ofNanos(scheduler.random().nextInt(300_000)),
          () -> {
            ended.completeExceptionally(new IllegalStateException(reason));
            if (ending != null) {
              ending.completeExceptionally(new IllegalStateException(reason));
            }
          });
    }

    @Override
    public CompletableFuture<Void> ended() {
      return ended;
    }

    @Override
    public CompletableFuture<Void> end() {
      CompletableFuture<Void> result = new CompletableFuture<>();
      ending = result;
      scheduler.schedule(
          Duration.ofNanos(scheduler.random().nextInt(100_000)),
          () -> {
            if (dead) {
              result.completeExceptionally(new IllegalStateException("it died"));
            } else {
              endWhenAllIsAnswered();
            }
          });
      return result;
    }

    @Override
    public void abort(String reason) {
      die(reason);
    }
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
  public boolean isWhole() {
    return differs == null;
  }

  @Override
  public CompletableFuture<Pass> beginPass() {
    CompletableFuture<Pass> result = new CompletableFuture<>();
    scheduler.schedule(
        Duration.ofNanos(scheduler.random().nextInt(300_000)),
        () -> {
          takeBack(); // of a pass that a killed server did not end
          BitSet now = (BitSet) noted.clone();
          if (first && differs != null) {
            now.or(differs);
          } else if (first) {
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
