package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyException;
import io.xenferry.copy.CopyJob;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DestinationOpener;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.copy.SourceDisk;
import io.xenferry.copy.Strategy;
import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;
import io.xenferry.spi.Guest;
import io.xenferry.spi.HypervisorException;
import io.xenferry.time.RealScheduler;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Copies a disk to another image of this host while a guest writes it: in passes, and beneath a
 * mirror once little is left. One server's work: a server that dies begins anew.
 */
final class GuestDiskCopy implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(GuestDiskCopy.class);

  /** A disk of this host that is away for so long does not come back by itself. */
  private static final Duration DESTINATION_WINDOW = Duration.ofSeconds(30);

  private static final Duration LOOK = Duration.ofMillis(100);

  /** The guest stands still meanwhile. */
  private static final Duration DRAIN_DEADLINE = Duration.ofSeconds(10);

  private static final Duration CLOSE_DEADLINE = Duration.ofSeconds(10);

  private static final AtomicLong GENERATIONS = new AtomicLong();

  private final Guest guest;
  private final RealScheduler scheduler;
  private final WriteLimit writes;
  private final CopyJob job;
  private final AutoCloseable listening;
  private final CompletableFuture<Void> converged = new CompletableFuture<>();
  private volatile boolean guestEnded;
  private volatile boolean throttled;

  /**
   * @param opener of the image that is to be filled, and reads as zeroes
   * @param bytesPerSecond limit; 0 for none
   */
  record Target(Opener opener, long bytesPerSecond) {}

  /** Opens the image that is to be filled. */
  @FunctionalInterface
  interface Opener {
    BlockBackend open() throws XenApiException;
  }

  /** Begins. */
  GuestDiskCopy(CopyEngine engine, Guest guest, String device, Target to)
      throws HypervisorException, InterruptedException {
    this.guest = guest;
    this.writes = new WriteLimit(guest::throttle);
    this.scheduler = new RealScheduler("move of " + device + " of " + guest.vm());
    boolean begun = false;
    try {
      SourceDisk source = guest.source(device);
      DiskPlan plan =
          new DiskPlan(
                  source,
                  opener(to.opener()),
                  true,
                  MemoryDirtyLog.immediate(BlockMap.of(source.size()), scheduler))
              .withStrategy(Strategy.AUTO);
      this.job =
          engine.start(
              List.of(plan),
              CopyOptions.DEFAULT
                  .withResumeWindow(DESTINATION_WINDOW)
                  .withBytesPerSecond(to.bytesPerSecond()),
              scheduler,
              new Listener());
      begun = true;
    } finally {
      if (!begun) {
        scheduler.close();
      }
    }
    job.ended()
        .whenComplete((done, failure) -> {
          if (failure != null) {
            converged.completeExceptionally(failure);
          }
        });
    this.listening =
        guest.onChange(state -> {
          // One that has shut down may be about to boot again, and else keeps its disks for us.
          if (state == Guest.State.GONE) {
            guestEnded = true;
            job.cancel();
          }
        });
  }

  private static DestinationOpener opener(Opener to) {
    return () -> {
      CompletableFuture<Destination> opened = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            try {
              opened.complete(new Destination(to.open(), GENERATIONS.incrementAndGet()));
            } catch (XenApiException | RuntimeException e) {
              opened.completeExceptionally(e);
            }
          });
      return opened;
    };
  }

  private final class Listener implements CopyListener {
    @Override
    public void onConverged(Duration predictedDowntime, boolean fits) {
      converged.complete(null);
    }

    @Override
    public void onNotConverging(
        String disk, long dirtyBytesPerSecond, long suggestedBytesPerSecond) {
      log.info(
          "{} of VM {} is written at {} bytes/s, faster than it is copied: slowing it to {}",
          disk,
          guest.vm(),
          dirtyBytesPerSecond,
          suggestedBytesPerSecond);
      throttled = true;
      var unused = limit(suggestedBytesPerSecond);
    }
  }

  /** Completes when the guest has been told, or cannot be. */
  private CompletableFuture<Void> limit(long bytesPerSecond) {
    return writes
        .set(bytesPerSecond)
        .exceptionally(failure -> {
          log.warn("the limit of the writes of VM {} could not be set", guest.vm(), failure);
          return null;
        });
  }

  /** Whether the guest's process has ended. */
  boolean guestEnded() {
    return guestEnded;
  }

  /**
   * Waits until what is left can be copied while the guest stands still for a moment. Never longer
   * than the task is not cancelled.
   *
   * @throws CopyException when there will be no copy: also when the guest has ended
   */
  void awaitConverged(Task task) throws CopyException, InterruptedException {
    task.onCancel(job::cancel);
    await(converged, task);
    await(job.prepareSwitch(), task);
  }

  private void await(CompletableFuture<Void> done, Task task)
      throws CopyException, InterruptedException {
    while (true) {
      try {
        done.get(LOOK.toMillis(), TimeUnit.MILLISECONDS);
        return;
      } catch (TimeoutException e) {
        task.progress(0.98 * job.snapshot().progress());
      } catch (ExecutionException e) {
        throw failure(e);
      }
    }
  }

  private static CopyException failure(ExecutionException e) {
    return e.getCause() instanceof CopyException known
        ? known
        : new CopyException(CopyException.Kind.DESTINATION_IO, String.valueOf(e.getCause()), e);
  }

  /** The guest stands still: both disks are the same afterwards, durably, and ours is closed. */
  void finish() throws CopyException, InterruptedException {
    try {
      job.drain().get(DRAIN_DEADLINE.toMillis(), TimeUnit.MILLISECONDS);
      job.close().get(CLOSE_DEADLINE.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      throw new CopyException(
          CopyException.Kind.DESTINATION_LOST,
          "the new disk does not answer, and the guest cannot wait",
          e);
    } catch (ExecutionException e) {
      throw failure(e);
    }
  }

  /** Ends the copy if it has not ended; nothing writes to the new disk afterwards. */
  @Override
  public void close() {
    try {
      listening.close();
    } catch (Exception e) {
      log.debug("nobody listens any more", e);
    }
    // Completes within two seconds, whatever the disks do.
    job.cancel().join();
    if (throttled) {
      limit(0).join();
    }
    scheduler.close();
  }
}
