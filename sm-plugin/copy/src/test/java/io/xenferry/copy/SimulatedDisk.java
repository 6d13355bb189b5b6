package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Extent;
import io.xenferry.time.SimulatedScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;

/**
 * A disk on simulated time that does all that the contract of a block backend allows: requests take
 * effect in any order, those of a broken connection even after it broke, a reset drops what was not
 * flushed, and answers may be long in coming.
 */
final class SimulatedDisk {
  final SimulatedScheduler scheduler;
  final Random random;
  final byte[] content;
  final int alignment;
  private byte[] durable;
  private final List<Connection> connections = new ArrayList<>();
  private long stalledUntil;
  long latencyNanos = 200_000;

  /** What writes go through one after another, and how long the way is; 0 for no such limit. */
  double writtenPerSecond;

  long roundTripNanos;
  private long wayFree;

  /** What a flush takes longer than other requests. */
  long flushNanos;

  /** What all reads together asked for. */
  long bytesRead;

  /** The byte that writes do not bring as it was sent; −1 for none. */
  int damaged = -1;

  /** Bytes of a block as an image of layers has them; 0 for a disk without layers. */
  private int layerBlock;

  /** The blocks that are the upper layer's own, and those that are so durably. */
  private BitSet own = new BitSet();

  private BitSet ownDurable = new BitSet();

  SimulatedDisk(SimulatedScheduler scheduler, int size, int alignment) {
    this.scheduler = scheduler;
    this.random = scheduler.random();
    this.content = new byte[size];
    this.durable = new byte[size];
    this.alignment = alignment;
  }

  byte[] durable() {
    return durable;
  }

  Connection connect() {
    Connection connection = new Connection();
    connections.add(connection);
    return connection;
  }

  void flushed() {
    durable = content.clone();
  }

  /**
   * What it shows now lies in a layer below: a block becomes its own when it is first written to,
   * in part or whole, and then has zeroes for what was not written.
   */
  void onLayers(int block) {
    layerBlock = block;
    flushed();
  }

  /** Before a change. */
  private void claim(long offset, long length) {
    if (layerBlock == 0) {
      return;
    }
    for (int block = (int) offset / layerBlock; block * layerBlock < offset + length; block++) {
      if (!own.get(block)) {
        own.set(block);
        clear(block * layerBlock, Math.min(content.length, (block + 1) * layerBlock));
      }
    }
  }

  private void clear(int from, int to) {
    Arrays.fill(content, from, to, (byte) 0);
  }

  /** A block whose place in the table was not flushed shows what lies below again. */
  private void loseClaims() {
    for (int block = own.nextSetBit(0); block >= 0; block = own.nextSetBit(block + 1)) {
      if (!ownDurable.get(block) && random.nextBoolean()) {
        own.clear(block);
        int from = block * layerBlock;
        int length = Math.min(content.length, from + layerBlock) - from;
        System.arraycopy(durable, from, content, from, length);
      }
    }
  }

  void stall(Duration duration) {
    stalledUntil = Math.max(stalledUntil, scheduler.nanoTime() + duration.toNanos());
  }

  /** Power fails and comes back: of what was not flushed, each stretch survives or does not. */
  void reset() {
    for (int at = 0; at < content.length; at += 16) {
      if (random.nextBoolean()) {
        int to = Math.min(content.length, at + 16);
        System.arraycopy(durable, at, content, at, to - at);
      }
    }
    loseClaims();
    for (Connection connection : List.copyOf(connections)) {
      connection.die(BlockException.Kind.RESET, true);
    }
  }

  void breakConnections() {
    for (Connection connection : List.copyOf(connections)) {
      connection.die(BlockException.Kind.LOST, false);
    }
  }

  private Duration delay() {
    long stall = Math.max(0, stalledUntil - scheduler.nanoTime());
    return Duration.ofNanos(stall + 1000 + (long) (random.nextDouble() * latencyNanos));
  }

  private long way(long bytes) {
    if (writtenPerSecond == 0) {
      return 0;
    }
    long now = scheduler.nanoTime();
    wayFree = Math.max(now, wayFree) + (long) (bytes / writtenPerSecond * 1e9);
    return wayFree - now + roundTripNanos;
  }

  final class Connection implements BlockBackend {
    private final List<Request> pending = new ArrayList<>();
    private boolean dead;
    private boolean fenced;
    private BlockException.Kind why = BlockException.Kind.LOST;
    BlockException.Kind failNext = BlockException.Kind.CLOSED;
    int failing;

    private final class Request {
      final long offset;
      final long length;
      final Runnable effect;
      final CompletableFuture<Void> answer = new CompletableFuture<>();
      final boolean changes;
      boolean applied;

      Request(long offset, long length, boolean changes, Runnable effect) {
        this.offset = offset;
        this.length = length;
        this.changes = changes;
        this.effect = effect;
      }
    }

    private CompletableFuture<Void> submit(
        long offset, long length, boolean changes, Runnable effect) {
      if (dead) {
        return CompletableFuture.failedFuture(new BlockException(why, "dead"));
      }
      if (failing > 0) {
        failing--;
        return CompletableFuture.failedFuture(new BlockException(failNext, "injected"));
      }
      if (offset % alignment != 0 || length % alignment != 0 || offset + length > content.length) {
        throw new AssertionError("misaligned " + offset + "+" + length);
      }
      Request request = new Request(offset, length, changes, effect);
      if (changes) {
        for (Connection connection : connections) {
          for (Request other : connection.pending) {
            if (other.changes
                && !other.applied
                && other.offset < offset + length
                && offset < other.offset + other.length
                && !connection.fenced) {
              throw new AssertionError("written again while a write is under way: " + offset);
            }
          }
        }
      }
      pending.add(request);
      scheduler.schedule(
          delay().plusNanos(length == 0 ? flushNanos : 0).plusNanos(changes ? way(length) : 0),
          () -> {
            if (!fenced && !request.applied) {
              request.applied = true;
              request.effect.run();
              Duration later = Duration.ofNanos(random.nextInt(20_000));
              if (dead) {
                pending.remove(request);
              } else {
                scheduler.schedule(
                    later,
                    () -> {
                      pending.remove(request);
                      if (!dead) {
                        request.answer.complete(null);
                      }
                    });
              }
            }
          });
      return request.answer;
    }

    void die(BlockException.Kind kind, boolean drops) {
      if (dead) {
        return;
      }
      dead = true;
      why = kind;
      for (Request request : List.copyOf(pending)) {
        if (drops) {
          request.applied = true;
          pending.remove(request);
        }
        scheduler.schedule(
            Duration.ofNanos(random.nextInt(50_000)),
            () -> request.answer.completeExceptionally(new BlockException(kind, "connection")));
      }
    }

    @Override
    public String name() {
      return "simulated";
    }

    @Override
    public long size() {
      return content.length;
    }

    @Override
    public int alignment() {
      return alignment;
    }

    @Override
    public int maxTransfer() {
      return 192;
    }

    @Override
    public boolean readOnly() {
      return false;
    }

    @Override
    public CompletableFuture<Void> read(long offset, ByteBuffer into) {
      int length = into.remaining();
      int position = into.position();
      bytesRead += length;
      return submit(offset, length, false, () -> into.put(position, content, (int) offset, length));
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      byte[] bytes = new byte[from.remaining()];
      from.duplicate().get(bytes);
      return submit(
          offset,
          bytes.length,
          true,
          () -> {
            claim(offset, bytes.length);
            System.arraycopy(bytes, 0, content, (int) offset, bytes.length);
            if (damaged >= offset && damaged < offset + bytes.length) {
              content[damaged] ^= 1;
            }
          });
    }

    @Override
    public CompletableFuture<Void> zero(long offset, long length) {
      return submit(
          offset,
          length,
          true,
          () -> {
            claim(offset, length);
            clear((int) offset, (int) (offset + length));
          });
    }

    @Override
    public CompletableFuture<Void> trim(long offset, long length) {
      return submit(
          offset,
          length,
          true,
          () -> {
            if (random.nextBoolean()) {
              claim(offset, length);
              clear((int) offset, (int) (offset + length));
            }
          });
    }

    @Override
    public CompletableFuture<Void> flush() {
      byte[] now = content.clone();
      BitSet ownNow = (BitSet) own.clone();
      // What is still under way when the flush is issued need not become durable by it.
      for (Request request : pending) {
        if (request.changes) {
          System.arraycopy(
              durable, (int) request.offset, now, (int) request.offset, (int) request.length);
        }
      }
      return submit(
          0,
          0,
          false,
          () -> {
            durable = now;
            ownDurable = ownNow;
          });
    }

    @Override
    public CompletableFuture<List<Extent>> extents(long offset, long length) {
      List<Extent> extents = new ArrayList<>();
      long step = Math.min(length, 48);
      boolean zero = true;
      for (long at = offset; at < offset + step; at++) {
        zero &= content[(int) at] == 0;
      }
      extents.add(new Extent(offset, step, zero));
      return CompletableFuture.completedFuture(extents);
    }

    @Override
    public void close() {
      die(BlockException.Kind.CLOSED, false);
      fenced = true;
      for (Request request : List.copyOf(pending)) {
        request.applied = true;
        pending.remove(request);
      }
      connections.remove(this);
    }

    /** Closed by our side without the certainty that nothing is under way any more. */
    void abandon() {
      die(BlockException.Kind.CLOSED, false);
    }
  }
}
