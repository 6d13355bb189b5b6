package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.LinkTimes;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Keeps one destination attached to its write-ordering point: opens it, and after a loss fences it
 * and opens it anew, with growing pauses, until the resume window is over.
 *
 * <pre>
 *   opening → attached → fencing → opening → …
 *                └ close → fenced, for good
 * </pre>
 */
final class DestinationLink {
  /** What the link tells the disk's copy. */
  interface Owner {
    void attached(boolean again);

    void failed(CopyException cause);
  }

  private final DiskPlan plan;
  private final CopyOptions options;
  private final Scheduler scheduler;
  private final WriteOrderingPoint point;
  private final Owner owner;
  private final CompletableFuture<Void> closed = new CompletableFuture<>();
  private @Nullable Destination current;

  /** Of those before it. */
  private LinkTimes timesBefore = LinkTimes.NONE;

  /** The attempt that is waited for; null when there is none. */
  private @Nullable CompletableFuture<Destination> opening;

  private Duration pause;
  private long lostAt;
  private boolean everAttached;
  private boolean closing;
  private boolean fencing;

  DestinationLink(
      DiskPlan plan,
      CopyOptions options,
      Scheduler scheduler,
      WriteOrderingPoint point,
      Owner owner) {
    this.plan = plan;
    this.options = options;
    this.scheduler = scheduler;
    this.point = point;
    this.owner = owner;
    this.pause = options.firstRetry();
    this.lostAt = scheduler.nanoTime();
  }

  void open() {
    CompletableFuture<Destination> attempt = attempt();
    opening = attempt;
    attempt.whenComplete((fresh, failure) ->
        scheduler.execute(() -> {
          if (opening == attempt) {
            opening = null;
            opened(fresh, failure);
          }
        }));
    scheduler.schedule(
        options.openDeadline(),
        () -> {
          if (opening == attempt) {
            fenceWhenOpen();
            retry(
                new BlockException(
                    BlockException.Kind.TIMEOUT, "the destination did not open in time"));
          }
        });
  }

  private CompletableFuture<Destination> attempt() {
    try {
      return plan.opener().open();
    } catch (RuntimeException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  /**
   * Waits for the attempt no longer, and fences what it opens all the same: by then nobody may run
   * what is left to the scheduler.
   */
  private void fenceWhenOpen() {
    CompletableFuture<Destination> late = opening;
    opening = null;
    if (late != null) {
      late.thenCompose(this::fence);
    }
  }

  private void opened(@Nullable Destination fresh, @Nullable Throwable failure) {
    if (fresh == null) {
      BlockException cause =
          failure == null
              ? new BlockException(BlockException.Kind.IO, "no destination")
              : CopyException.blockFailure(failure);
      if (cause.kind() == BlockException.Kind.ACCESS && !everAttached) {
        owner.failed(
            new CopyException(
                CopyException.Kind.DESTINATION_REFUSED,
                point.name() + ": the destination refuses the login",
                cause));
      } else {
        retry(cause);
      }
      return;
    }
    String unfit = unfit(fresh.backend());
    if (unfit != null) {
      fence(fresh);
      owner.failed(
          new CopyException(CopyException.Kind.DESTINATION_UNFIT, point.name() + ": " + unfit));
      return;
    }
    current = fresh;
    point.attach(fresh);
    boolean again = everAttached;
    everAttached = true;
    pause = options.firstRetry();
    owner.attached(again);
  }

  private @Nullable String unfit(BlockBackend backend) {
    BlockMap map = point.map();
    if (backend.readOnly()) {
      return "the destination is read-only";
    }
    if (backend.size() < map.size()) {
      return "the destination has %d bytes, the source %d".formatted(backend.size(), map.size());
    }
    if (backend.alignment() > map.blockSize()) {
      return "the destination's blocks of %d bytes are too large".formatted(backend.alignment());
    }
    return null;
  }

  private void retry(BlockException cause) {
    if (scheduler.nanoTime() - lostAt >= options.resumeWindow().toNanos()) {
      owner.failed(
          new CopyException(
              CopyException.Kind.DESTINATION_LOST,
              "%s: the destination did not come back within %s"
                  .formatted(point.name(), options.resumeWindow()),
              cause));
      return;
    }
    scheduler.schedule(
        nextPause(),
        () -> {
          if (!closing) {
            open();
          }
        });
  }

  private Duration nextPause() {
    Duration now = pause;
    Duration doubled = pause.multipliedBy(2);
    pause = doubled.compareTo(options.lastRetry()) > 0 ? options.lastRetry() : doubled;
    return now;
  }

  /** The point has lost its destination: fence it, then open it anew. */
  void lost() {
    Destination gone = current;
    if (gone == null) {
      return;
    }
    timesBefore = times();
    current = null;
    lostAt = scheduler.nanoTime();
    if (point.defects.contains(WriteOrderingPoint.Defect.NOT_FENCED)) {
      open();
      return;
    }
    fenceAndReopen(gone);
  }

  private void fenceAndReopen(Destination gone) {
    fencing = true;
    fence(gone)
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              fencing = false;
              if (closing) {
                closed.complete(null);
              } else if (failure == null) {
                open();
              } else if (scheduler.nanoTime() - lostAt >= options.resumeWindow().toNanos()) {
                owner.failed(
                    new CopyException(
                        CopyException.Kind.DESTINATION_LOST,
                        point.name() + ": the lost destination cannot be fenced",
                        failure));
              } else {
                scheduler.schedule(nextPause(), () -> fenceAndReopen(gone));
              }
            }));
  }

  private CompletableFuture<Void> fence(Destination destination) {
    try {
      return plan.opener().fence(destination);
    } catch (RuntimeException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  boolean connected() {
    return current != null;
  }

  /** What writes to it have waited for on their way, each time that it was there. */
  LinkTimes times() {
    Destination it = current;
    return it == null ? timesBefore : timesBefore.plus(it.backend().linkTimes());
  }

  /** Fences the destination for good. */
  CompletableFuture<Void> close() {
    if (closing) {
      return closed;
    }
    closing = true;
    fenceWhenOpen();
    Destination last = current;
    timesBefore = times();
    current = null;
    if (last == null) {
      if (!fencing) {
        closed.complete(null);
      }
      return closed;
    }
    if (point.attached()) {
      point.detach();
    }
    fence(last)
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              if (failure == null) {
                closed.complete(null);
              } else {
                closed.completeExceptionally(failure);
              }
            }));
    return closed;
  }
}
