package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.time.Scheduler;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Flushes of both disks, one at a time, and what they mean for the books. Confined to the point's
 * scheduler.
 */
final class Flushes {
  private final WriteOrderingPoint point;
  private final BlockBooks books;
  private final @Nullable BlockBackend guestDisk;
  private final Scheduler scheduler;
  private @Nullable CompletableFuture<Boolean> running;
  private long issued;

  Flushes(
      WriteOrderingPoint point,
      BlockBooks books,
      Optional<BlockBackend> guestDisk,
      Scheduler scheduler) {
    this.point = point;
    this.books = books;
    this.guestDisk = guestDisk.orElse(null);
    this.scheduler = scheduler;
  }

  /** See {@link WriteOrderingPoint#flushBoth}. */
  CompletableFuture<Boolean> flushBoth() {
    CompletableFuture<Boolean> before = running;
    if (before != null) {
      return before.handle((done, failure) -> done).thenCompose(done -> flushBoth());
    }
    Destination to = point.destination();
    if (to == null) {
      return CompletableFuture.completedFuture(false);
    }
    books.flushIssued();
    if (point.hasDefect(WriteOrderingPoint.Defect.LEAVES_LOG_WITHOUT_FLUSH)) {
      books.flushed(point.inFlight());
    }
    CompletableFuture<Boolean> result = new CompletableFuture<>();
    running = result;
    issued = scheduler.nanoTime();
    point.watch();
    BlockBackend disk = guestDisk;
    CompletableFuture<Void> source =
        disk == null ? CompletableFuture.completedFuture(null) : disk.flush();
    CompletableFuture<Void> there = to.backend().flush();
    CompletableFuture.allOf(
            source.handle((done, failure) -> done), there.handle((done, failure) -> done))
        .whenComplete((done, failure) -> scheduler.execute(() -> flushed(source, there, result)));
    return result;
  }

  private void flushed(
      CompletableFuture<Void> source,
      CompletableFuture<Void> there,
      CompletableFuture<Boolean> result) {
    if (running != result) {
      return; // the destination was lost meanwhile
    }
    running = null;
    if (there.isCompletedExceptionally()) {
      books.sendUnflushedAgain();
      point.destinationFailed(CopyException.blockFailure(there.exceptionNow()));
      result.complete(false);
    } else if (source.isCompletedExceptionally()) {
      books.flushFailedHere();
      result.completeExceptionally(source.exceptionNow());
    } else {
      books.flushed(point.inFlight());
      result.complete(true);
    }
  }

  /** Nanoseconds that the flush under way has taken so far; negative when there is none. */
  long underWayFor() {
    return running == null ? -1 : scheduler.nanoTime() - issued;
  }

  /** The destination was lost under it. */
  void lost() {
    CompletableFuture<Boolean> before = running;
    running = null;
    if (before != null) {
      before.complete(false);
    }
  }
}
