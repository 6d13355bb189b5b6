package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.time.RealScheduler;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The engine on real time, files and threads. */
@Timeout(180)
class FileCopyTest {
  @TempDir Path directory;
  private final RealScheduler scheduler = new RealScheduler("copy");
  private final ExecutorService io = Executors.newSingleThreadExecutor();
  private final Random random = new Random(3);
  private long generation;

  @AfterEach
  void stop() {
    scheduler.close();
    io.shutdownNow();
  }

  @Test
  void followsAGuestThatWritesWhileItCopies() throws Exception {
    long size = (24L << 20) + 4096;
    Path from = randomFile("from", size);
    Path to = directory.resolve("to");
    FileBackend.create(to, size).close();
    try (FileBackend source = FileBackend.open(from, FileBackend.Mode.READ_WRITE);
        DirtyLog log = FileDirtyLog.open(directory.resolve("log"), BlockMap.of(size), io)) {
      CompletableFuture<Void> converged = new CompletableFuture<>();
      CopyListener listener =
          new CopyListener() {
            @Override
            public void onConverged(Duration predicted, boolean fits) {
              converged.complete(null);
            }
          };
      DiskPlan plan =
          new DiskPlan(new LiveDisk("disk", source), opener(to), true, log, Optional.of(source));
      CopyJob job =
          new CopyEngine()
              .start(
                  List.of(plan),
                  CopyOptions.DEFAULT.withVerify(CopyOptions.Verify.EVERYTHING),
                  scheduler,
                  listener);
      WriteOrderingPoint point = job.orderingPoint("disk");
      for (int i = 0; i < 400 || !converged.isDone(); i++) {
        if (i == 100) {
          scheduler.execute(() -> point.policy(WriteOrderingPoint.Policy.MIRROR));
        }
        byte[] bytes = new byte[4096 * (1 + random.nextInt(8))];
        random.nextBytes(bytes);
        long offset = 512L * random.nextInt((int) ((size - bytes.length) / 512));
        CompletableFuture<Void> written = new CompletableFuture<>();
        scheduler.execute(() ->
            point
                .guestWrite(offset, ByteBuffer.wrap(bytes))
                .whenComplete((done, failure) -> written.complete(null)));
        written.get(30, TimeUnit.SECONDS);
      }
      CopySnapshot drained = job.drain().get(60, TimeUnit.SECONDS);
      assertThat(drained.phase()).isEqualTo(CopySnapshot.Phase.DRAINED);
      job.close().get(30, TimeUnit.SECONDS);
      assertThat(job.snapshot().progress()).isEqualTo(1);
      assertThat(log.marked().isEmpty()).isTrue();
    }
    assertThat(Files.mismatch(from, to)).isEqualTo(-1);
  }

  @Test
  void copiesASparseDiskOfEightTebibytes() throws Exception {
    long size = 8L << 40;
    Path from = directory.resolve("from");
    Path to = directory.resolve("to");
    FileBackend.create(from, size).close();
    FileBackend.create(to, size).close();
    long[] places = {0, (3L << 40) + 12345 * 512, size - (1 << 20)};
    try (RandomAccessFile file = new RandomAccessFile(from.toFile(), "rw")) {
      for (long place : places) {
        file.seek(place);
        byte[] bytes = new byte[1 << 20];
        random.nextBytes(bytes);
        file.write(bytes);
      }
    }
    CopySnapshot end = copy(from, to, size, true);
    assertThat(end.disks().getFirst().sent()).isLessThan(16L << 20);
    try (RandomAccessFile a = new RandomAccessFile(from.toFile(), "r");
        RandomAccessFile b = new RandomAccessFile(to.toFile(), "r")) {
      for (long place : places) {
        byte[] expected = new byte[1 << 20];
        byte[] actual = new byte[1 << 20];
        a.seek(place);
        a.readFully(expected);
        b.seek(place);
        b.readFully(actual);
        assertThat(actual).isEqualTo(expected);
      }
    }
  }

  @Test
  void zeroesWhatADirtyDestinationHeld() throws Exception {
    long size = 8 << 20;
    Path to = randomFile("to", size);
    Path from = directory.resolve("from");
    FileBackend.create(from, size).close();
    try (RandomAccessFile file = new RandomAccessFile(from.toFile(), "rw")) {
      file.seek(3 << 20);
      file.write(new byte[] {1, 2, 3});
    }
    CopySnapshot end = copy(from, to, size, false);
    assertThat(Files.mismatch(from, to)).isEqualTo(-1);
    assertThat(end.disks().getFirst().sent()).isLessThanOrEqualTo(64 << 10);
  }

  @Test
  void refusesADestinationThatIsTooSmall() throws Exception {
    Path from = randomFile("from", 1 << 20);
    Path to = randomFile("to", (1 << 20) - 512);
    assertThatThrownBy(() -> copy(from, to, 1 << 20, false))
        .hasCauseInstanceOf(CopyException.class)
        .cause()
        .hasMessageContaining("the destination has 1048064 bytes, the source 1048576");
  }

  @Test
  void isCancelledHalfWay() throws Exception {
    long size = 64 << 20;
    Path from = randomFile("from", size);
    Path to = directory.resolve("to");
    FileBackend.create(to, size).close();
    try (FileBackend source = FileBackend.open(from, FileBackend.Mode.READ_ONLY)) {
      CopyJob job =
          new CopyEngine()
              .start(
                  List.of(
                      new DiskPlan(
                          new LiveDisk("disk", source),
                          opener(to),
                          true,
                          MemoryDirtyLog.immediate(BlockMap.of(size), scheduler))),
                  CopyOptions.DEFAULT.withBytesPerSecond(1 << 20),
                  scheduler,
                  new CopyListener() {});
      Awaitility.await()
          .until(() ->
              !job.snapshot().disks().isEmpty() && job.snapshot().disks().getFirst().sent() > 0);
      job.cancel().get(30, TimeUnit.SECONDS);
      assertThat(job.snapshot().phase()).isEqualTo(CopySnapshot.Phase.CANCELLED);
      assertThat(job.snapshot().disks().getFirst().sent()).isLessThan(size);
      // Fenced: the file can be opened by another.
      FileBackend.open(to, FileBackend.Mode.READ_WRITE).close();
    }
  }

  private CopySnapshot copy(Path from, Path to, long size, boolean knownZero)
      throws IOException, InterruptedException, ExecutionException {
    try (FileBackend source = FileBackend.open(from, FileBackend.Mode.READ_ONLY)) {
      CopyJob job =
          new CopyEngine()
              .start(
                  List.of(
                      new DiskPlan(
                          new LiveDisk("disk", source),
                          opener(to),
                          knownZero,
                          MemoryDirtyLog.immediate(BlockMap.of(size), scheduler))),
                  CopyOptions.DEFAULT,
                  scheduler,
                  new CopyListener() {});
      CopySnapshot drained = job.drain().get();
      job.close().get();
      return drained;
    }
  }

  private DestinationOpener opener(Path path) {
    return () -> {
      try {
        return CompletableFuture.completedFuture(
            new Destination(FileBackend.open(path, FileBackend.Mode.READ_WRITE), ++generation));
      } catch (BlockException e) {
        return CompletableFuture.failedFuture(e);
      }
    };
  }

  private Path randomFile(String name, long size) throws IOException {
    byte[] bytes = new byte[(int) size];
    random.nextBytes(bytes);
    return Files.write(directory.resolve(name), bytes);
  }
}
