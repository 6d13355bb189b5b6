package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.Extent;
import io.xenferry.time.Scheduler;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * Where a mirror hands over the guest's writes that the source already has: the guest's side of the
 * write-ordering point as a device. Thread-safe; everything happens on the point's scheduler.
 */
final class GuestSink implements BlockBackend {
  private static final int MAX_TRANSFER = 32 << 20;

  private final WriteOrderingPoint point;
  private final Scheduler scheduler;

  // Confined to the scheduler.
  private boolean open = true;
  private long bytes;
  private long writes;

  GuestSink(WriteOrderingPoint point, Scheduler scheduler) {
    this.point = point;
    this.scheduler = scheduler;
  }

  /** Bytes handed over so far; on the scheduler. */
  long bytes() {
    return bytes;
  }

  long writes() {
    return writes;
  }

  /**
   * Takes nothing any more; on the scheduler. A write of a dead mirror that came after the next
   * pass has begun could overwrite what that sends.
   */
  void shut() {
    open = false;
  }

  private CompletableFuture<Void> take(long length, Supplier<CompletableFuture<Void>> write) {
    CompletableFuture<Void> result = new CompletableFuture<>();
    scheduler.execute(() -> {
      if (!open) {
        result.completeExceptionally(
            new BlockException(BlockException.Kind.CLOSED, point.name() + " is not mirrored"));
        return;
      }
      bytes += length;
      writes++;
      write
          .get()
          .whenComplete((done, failure) -> {
            if (failure == null) {
              result.complete(null);
            } else {
              result.completeExceptionally(failure);
            }
          });
    });
    return result;
  }

  @Override
  public String name() {
    return point.name() + " mirror";
  }

  @Override
  public long size() {
    return point.map().size();
  }

  @Override
  public int alignment() {
    return 1;
  }

  @Override
  public int maxTransfer() {
    return MAX_TRANSFER;
  }

  @Override
  public boolean readOnly() {
    return false;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return CompletableFuture.failedFuture(
        new BlockException(BlockException.Kind.IO, name() + " is only written to"));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return take(from.remaining(), () -> point.guestWrite(offset, from));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return take(length, () -> point.guestZero(offset, length));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return take(0, () -> point.guestTrim(offset, length));
  }

  /** A sign of life: nothing is flushed, since the points that matter flush by themselves. */
  @Override
  public CompletableFuture<Void> flush() {
    CompletableFuture<Void> result = new CompletableFuture<>();
    scheduler.execute(() -> result.complete(null));
    return result;
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return CompletableFuture.completedFuture(List.of(new Extent(offset, length, false)));
  }

  @Override
  public void close() {}
}
