package io.xenferry.block;

import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * Makes a device slow: requests are issued after a delay on the scheduler. Closing it lets those
 * that wait meet a closed device.
 */
public final class DelayBackend extends ForwardingBackend {
  private final Scheduler scheduler;
  private final Latency latency;

  /** How long a request waits before it is issued. */
  @FunctionalInterface
  public interface Latency {
    /** Zero or more; called once a request, on the caller's thread. */
    Duration of(BlockOp op, long bytes);
  }

  public DelayBackend(BlockBackend delegate, Scheduler scheduler, Latency latency) {
    super(delegate);
    this.scheduler = scheduler;
    this.latency = latency;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return later(BlockOp.READ, into.remaining(), () -> delegate().read(offset, into));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return later(BlockOp.WRITE, from.remaining(), () -> delegate().write(offset, from));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return later(BlockOp.ZERO, length, () -> delegate().zero(offset, length));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return later(BlockOp.TRIM, length, () -> delegate().trim(offset, length));
  }

  @Override
  public CompletableFuture<Void> flush() {
    return later(BlockOp.FLUSH, 0, () -> delegate().flush());
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return later(BlockOp.EXTENTS, length, () -> delegate().extents(offset, length));
  }

  private <T> CompletableFuture<T> later(
      BlockOp op, long bytes, Supplier<CompletableFuture<T>> request) {
    Duration delay = latency.of(op, bytes);
    if (delay.isZero()) {
      return request.get();
    }
    CompletableFuture<T> future = new CompletableFuture<>();
    scheduler.schedule(
        delay,
        () ->
            request
                .get()
                .whenComplete((v, e) -> {
                  if (e == null) {
                    future.complete(v);
                  } else {
                    future.completeExceptionally(BlockRequests.unwrap(e));
                  }
                }));
    return future;
  }
}
