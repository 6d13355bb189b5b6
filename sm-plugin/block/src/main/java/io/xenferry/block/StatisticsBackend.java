package io.xenferry.block;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.LongAccumulator;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;

/** Counts requests, bytes, failures and latencies. */
public final class StatisticsBackend extends ForwardingBackend {
  /** Up to 2^26 microseconds, about a minute. */
  private static final int BUCKETS = 27;

  private final LongSupplier nanoTime;
  private final Map<BlockOp, Counters> counters = new EnumMap<>(BlockOp.class);
  private final LongAdder inFlight = new LongAdder();

  private static final class Counters {
    final LongAdder requests = new LongAdder();
    final LongAdder failures = new LongAdder();
    final LongAdder bytes = new LongAdder();
    final LongAdder nanos = new LongAdder();
    final LongAccumulator longest = new LongAccumulator(Long::max, 0);
    final LongAdder[] histogram = new LongAdder[BUCKETS];

    Counters() {
      Arrays.setAll(histogram, i -> new LongAdder());
    }
  }

  /**
   * Begins to count.
   *
   * @param nanoTime monotonic, as of a scheduler
   */
  public StatisticsBackend(BlockBackend delegate, LongSupplier nanoTime) {
    super(delegate);
    this.nanoTime = nanoTime;
    for (BlockOp op : BlockOp.values()) {
      counters.put(op, new Counters());
    }
  }

  /** The counts as of now; those of requests that complete meanwhile may be there in part. */
  public BlockStatistics statistics() {
    Map<BlockOp, BlockStatistics.Operation> operations = new EnumMap<>(BlockOp.class);
    counters.forEach((op, c) ->
        operations.put(
            op,
            new BlockStatistics.Operation(
                c.requests.sum(),
                c.failures.sum(),
                c.bytes.sum(),
                Duration.ofNanos(c.nanos.sum()),
                Duration.ofNanos(c.longest.get()),
                Arrays.stream(c.histogram).map(LongAdder::sum).toList())));
    return new BlockStatistics(operations, inFlight.sum());
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    long bytes = into.remaining();
    return count(BlockOp.READ, bytes, nanoTime.getAsLong(), delegate().read(offset, into));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    long bytes = from.remaining();
    return count(BlockOp.WRITE, bytes, nanoTime.getAsLong(), delegate().write(offset, from));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return count(BlockOp.ZERO, length, nanoTime.getAsLong(), delegate().zero(offset, length));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return count(BlockOp.TRIM, length, nanoTime.getAsLong(), delegate().trim(offset, length));
  }

  @Override
  public CompletableFuture<Void> flush() {
    return count(BlockOp.FLUSH, 0, nanoTime.getAsLong(), delegate().flush());
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return count(BlockOp.EXTENTS, length, nanoTime.getAsLong(), delegate().extents(offset, length));
  }

  private <T> CompletableFuture<T> count(
      BlockOp op, long bytes, long start, CompletableFuture<T> request) {
    inFlight.increment();
    return request.whenComplete((v, failure) -> {
      inFlight.decrement();
      Counters c = counters.get(op);
      if (c == null) {
        return;
      }
      long nanos = Math.max(0, nanoTime.getAsLong() - start);
      c.requests.increment();
      c.nanos.add(nanos);
      c.longest.accumulate(nanos);
      int bucket = Long.SIZE - Long.numberOfLeadingZeros(nanos / 1_000);
      c.histogram[Math.min(BUCKETS - 1, bucket)].increment();
      if (failure == null) {
        c.bytes.add(bytes);
      } else {
        c.failures.increment();
      }
    });
  }
}
