package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.bench.measure.Disks;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyJob;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.CopySnapshot.Disk;
import io.xenferry.copy.DirtyLog;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.FileDirtyLog;
import io.xenferry.copy.LiveDisk;
import io.xenferry.copy.WriteOrderingPoint;
import io.xenferry.time.RealScheduler;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A file to a LUN of tgtd, written to all the time, and tgtd killed on the way. */
class IscsiCopyTest {
  private static final long SIZE = 64 << 20;

  /** They die together, and the log knows what each of them had under way. */
  private static final int SESSIONS = 3;

  @TempDir Path directory;
  private final Random random = new Random(5);

  @Test
  @Timeout(300)
  void arrivesWholeAlthoughTheTargetDiesTwice() throws Exception {
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(TestLun.installed(), "tgtd is missing");
    }
    Path from = Disks.random(directory.resolve("from"), SIZE);
    ExecutorService io = Executors.newSingleThreadExecutor();
    AtomicInteger losses = new AtomicInteger();
    AtomicInteger returns = new AtomicInteger();
    CopyListener listener =
        new CopyListener() {
          @Override
          public void onDestinationLost(String disk, BlockException cause) {
            losses.incrementAndGet();
          }

          @Override
          public void onDestinationBack(String disk) {
            returns.incrementAndGet();
          }
        };
    try (TestLun lun = TestLun.create(directory, SIZE);
        RealScheduler scheduler = new RealScheduler("copy");
        FileBackend source = FileBackend.open(from, FileBackend.Mode.READ_WRITE);
        DirtyLog log = FileDirtyLog.open(directory.resolve("log"), BlockMap.of(SIZE), io)) {
      CopyJob job =
          new CopyEngine()
              .start(
                  List.of(
                      new DiskPlan(
                          new LiveDisk("disk", source),
                          new LunOpener(lun.url(), SESSIONS, false),
                          true,
                          log,
                          Optional.of(source))),
                  CopyOptions.DEFAULT
                      .withBytesPerSecond(32 << 20)
                      .withVerify(CopyOptions.Verify.EVERYTHING),
                  scheduler,
                  listener);
      WriteOrderingPoint point = job.orderingPoint("disk");
      // A target that dies before it was ever attached is not one that comes back.
      writeUntil(() -> job.snapshot().disks().stream().anyMatch(Disk::connected), job, scheduler);
      for (int killed = 0; killed < 2; killed++) {
        writeFor(150, point, scheduler);
        if (killed == 1) {
          job.bytesPerSecond(0);
          scheduler.execute(() -> point.policy(WriteOrderingPoint.Policy.MIRROR));
          writeFor(50, point, scheduler);
        }
        lun.daemon().orElseThrow().destroyForcibly();
        int expected = killed + 1;
        writeUntil(() -> returns.get() >= expected, job, scheduler);
      }
      CopySnapshot drained = job.drain().get(60, TimeUnit.SECONDS);
      assertThat(drained.phase()).isEqualTo(CopySnapshot.Phase.DRAINED);
      job.close().get(60, TimeUnit.SECONDS);
      assertThat(losses).hasValueGreaterThanOrEqualTo(2);
      assertThat(Files.mismatch(from, lun.file())).isEqualTo(-1);
    } finally {
      io.shutdownNow();
    }
  }

  /** The daemon hangs with the guest's mirrored writes in it: they are answered all the same. */
  @Test
  @Timeout(300)
  void aTargetThatHangsDoesNotHoldUpTheGuest() throws Exception {
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(TestLun.installed(), "tgtd is missing");
    }
    Path from = Disks.random(directory.resolve("from"), SIZE);
    ExecutorService io = Executors.newSingleThreadExecutor();
    CompletableFuture<Void> converged = new CompletableFuture<>();
    CompletableFuture<String> fallback = new CompletableFuture<>();
    CopyListener listener =
        new CopyListener() {
          @Override
          public void onConverged(Duration predicted, boolean fits) {
            converged.complete(null);
          }

          @Override
          public void onFallback(String disk, String reason) {
            fallback.complete(reason);
          }
        };
    try (TestLun lun = TestLun.create(directory, SIZE);
        RealScheduler scheduler = new RealScheduler("copy");
        FileBackend source = FileBackend.open(from, FileBackend.Mode.READ_WRITE);
        DirtyLog log = FileDirtyLog.open(directory.resolve("log"), BlockMap.of(SIZE), io)) {
      CopyJob job =
          new CopyEngine()
              .start(
                  List.of(
                      new DiskPlan(
                          new LiveDisk("disk", source),
                          new LunOpener(lun.url(), 1, false),
                          true,
                          log,
                          Optional.of(source))),
                  CopyOptions.DEFAULT.withVerify(CopyOptions.Verify.EVERYTHING),
                  scheduler,
                  listener);
      WriteOrderingPoint point = job.orderingPoint("disk");
      converged.get(60, TimeUnit.SECONDS);
      scheduler.execute(() -> point.policy(WriteOrderingPoint.Policy.MIRROR));
      ProcessHandle daemon = lun.daemon().orElseThrow();
      signal("-STOP", daemon);
      try {
        writeFor(50, point, scheduler);
        assertThat(fallback.get(60, TimeUnit.SECONDS)).contains("in time");
      } finally {
        signal("-CONT", daemon);
      }
      writeFor(50, point, scheduler);
      job.drain().get(120, TimeUnit.SECONDS);
      job.close().get(60, TimeUnit.SECONDS);
      assertThat(Files.mismatch(from, lun.file())).isEqualTo(-1);
    } finally {
      io.shutdownNow();
    }
  }

  private static void signal(String signal, ProcessHandle process) throws Exception {
    Process kill = new ProcessBuilder("kill", signal, Long.toString(process.pid())).start();
    assertThat(kill.waitFor()).isZero();
  }

  private void writeUntil(BooleanSupplier seen, CopyJob job, RealScheduler scheduler)
      throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
    while (!seen.getAsBoolean()) {
      assertThat(job.ended()).as("the copy").isNotDone();
      assertThat(System.nanoTime()).as(job.snapshot().toString()).isLessThan(deadline);
      writeFor(10, job.orderingPoint("disk"), scheduler);
    }
  }

  /** A guest at depth 1. */
  private void writeFor(int writes, WriteOrderingPoint point, RealScheduler scheduler)
      throws Exception {
    for (int i = 0; i < writes; i++) {
      byte[] bytes = new byte[4096 * (1 + random.nextInt(4))];
      random.nextBytes(bytes);
      long offset = 512L * random.nextInt((int) ((SIZE - bytes.length) / 512));
      CompletableFuture<Void> written = new CompletableFuture<>();
      scheduler.execute(() ->
          point
              .guestWrite(offset, ByteBuffer.wrap(bytes))
              .whenComplete((done, failure) -> {
                if (failure == null) {
                  written.complete(null);
                } else {
                  written.completeExceptionally(failure);
                }
              }));
      written.get(60, TimeUnit.SECONDS);
    }
  }
}
