package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.MemoryBackend;
import io.xenferry.block.RecordedExchange;
import io.xenferry.block.RecordedExchange.Then;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A target that goes silent, or away, after each byte of a session: login with CHAP, the look at
 * the disk, a write, a read, a flush and the logout. What is asked of it fails for the right
 * reason, and neither a thread nor a connection is left.
 */
@Timeout(300)
class SilentTargetTest {
  private static final String IQN = "iqn.2026-01.io.xenferry:silent";
  private static final int SECTOR = 512;
  private static final int AT_ONCE = 48;

  /** In the quick test: no divisor of a header's 48 bytes, so that all places in it come up. */
  private static final int STRIDE = 13;

  private static final Duration PATIENCE = Duration.ofSeconds(60);

  /** No test waits for success by these: too short a time is a timeout, which is what they want. */
  private static final IscsiOptions HASTY =
      IscsiOptions.defaults()
          .withLoginTimeout(Duration.ofMillis(200))
          .withCommandTimeout(Duration.ofMillis(100))
          .withCloseTimeout(Duration.ofMillis(50));

  @TempDir static Path directory;
  private static RecordedExchange exchange;

  /** Bytes of the target's without which the flush has no answer. */
  private static int untilFlushed;

  @BeforeAll
  static void record() throws Exception {
    EmbeddedTargetService service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
    try {
      IscsiUrl url =
          service.open(
              new Export(
                  IQN,
                  1,
                  new Export.Backing.Device(new MemoryBackend("memory", 1 << 20)),
                  "silent",
                  "silent",
                  Optional.of(account()),
                  new Acl.Everybody(),
                  true,
                  false));
      try (RecordedExchange.Recorder recorder = new RecordedExchange.Recorder(url.port())) {
        IscsiDisk disk = IscsiInitiator.connect(at(recorder.port()), IscsiOptions.defaults());
        use(disk, PATIENCE);
        untilFlushed = recorder.fromServer();
        disk.close();
        exchange = recorder.end();
      }
    } finally {
      service.close();
    }
    assertThat(exchange.fromServer().length).isGreaterThan(untilFlushed);
  }

  private static Credentials account() {
    return new Credentials("user", "secret-word");
  }

  private static IscsiUrl at(int port) {
    return new IscsiUrl(Optional.of(account()), "127.0.0.1", port, IQN, 1);
  }

  private static void use(IscsiDisk disk, Duration limit) throws BlockException {
    IscsiDisk.await(disk.write(0, ByteBuffer.allocateDirect(SECTOR)), limit);
    IscsiDisk.await(disk.read(SECTOR, ByteBuffer.allocateDirect(SECTOR)), limit);
    IscsiDisk.await(disk.flush(), limit);
  }

  @ParameterizedTest
  @EnumSource
  void atManyBytes(Then then) throws Exception {
    atEach(STRIDE, then);
  }

  @ParameterizedTest
  @EnumSource
  @Tag("slow")
  void atEachByte(Then then) throws Exception {
    atEach(1, then);
  }

  private static void atEach(int stride, Then then) throws Exception {
    Semaphore places = new Semaphore(AT_ONCE);
    try (ExecutorService all = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> cuts =
          IntStream.iterate(0, bytes -> bytes <= untilFlushed, bytes -> bytes + stride)
              .<Future<?>>mapToObj(bytes ->
                  all.submit(() -> {
                    places.acquire();
                    try {
                      cutAfter(bytes, then);
                    } finally {
                      places.release();
                    }
                    return null;
                  }))
              .toList();
      for (Future<?> cut : cuts) {
        cut.get();
      }
    }
    await().atMost(PATIENCE).until(() -> threads() == 0);
  }

  private static long threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().contains(IQN))
        .count();
  }

  private static void cutAfter(int bytes, Then then) throws Exception {
    try (RecordedExchange.Server server = exchange.serve(bytes, then)) {
      Optional<Kind> failure = Optional.empty();
      try {
        IscsiDisk disk = IscsiInitiator.connect(at(server.port()), HASTY);
        try {
          use(disk, PATIENCE);
        } finally {
          disk.close();
        }
      } catch (BlockException e) {
        failure = Optional.of(e.kind());
      }
      // With all that the flush needs, only haste may still fail it.
      if (bytes < untilFlushed || failure.isPresent()) {
        assertThat(failure)
            .as("%s after %d of %d bytes", then, bytes, untilFlushed)
            .isPresent()
            .get()
            .isIn(then == Then.CLOSE ? List.of(Kind.LOST, Kind.TIMEOUT) : List.of(Kind.TIMEOUT));
      }
      CompletableFuture<Void> left = server.left();
      left.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    }
  }
}
