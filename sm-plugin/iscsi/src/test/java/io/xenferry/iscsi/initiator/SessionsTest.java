package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Several sessions to one disk: one disk in order, in flushes, in failures and in its end. */
@Timeout(120)
class SessionsTest {
  private static final int KIB = 1024;
  private static final int MIB = 1 << 20;
  private static final String IQN = "iqn.2026-01.io.xenferry:cached";
  private static final Duration SOON = Duration.ofSeconds(20);
  private static final IscsiOptions THREE =
      IscsiOptions.defaults().withSessions(3).withCloseTimeout(SOON);

  @TempDir Path directory;
  private final Cache cache = new Cache(new MemoryBackend("memory", 16 * MIB));
  private EmbeddedTargetService service;
  private IscsiUrl url;

  /**
   * A disk with a volatile cache: what was written reaches the medium by a flush only, and is gone
   * when the power fails. Its writes can be held up.
   */
  private static final class Cache extends ForwardingBackend {
    private final Map<Long, byte[]> unflushed = new ConcurrentHashMap<>();
    private volatile CompletableFuture<Void> open = CompletableFuture.completedFuture(null);

    Cache(BlockBackend medium) {
      super(medium);
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      byte[] bytes = new byte[from.remaining()];
      from.get(from.position(), bytes);
      return open.thenRun(() -> unflushed.put(offset, bytes));
    }

    @Override
    public CompletableFuture<Void> flush() {
      List<CompletableFuture<Void>> written = new ArrayList<>();
      unflushed.forEach((offset, bytes) -> {
        written.add(delegate().write(offset, ByteBuffer.wrap(bytes)));
        unflushed.remove(offset, bytes);
      });
      return CompletableFuture.allOf(written.toArray(CompletableFuture[]::new));
    }

    void failPower() {
      unflushed.clear();
    }
  }

  @BeforeEach
  void start() throws Exception {
    start("first", EmbeddedTargetService.Limits.defaults());
  }

  private void start(String name, EmbeddedTargetService.Limits limits) throws Exception {
    service = service(name, limits);
    url = service.open(export("cached", cache));
  }

  private EmbeddedTargetService service(String name, EmbeddedTargetService.Limits limits)
      throws Exception {
    Path state = Files.createDirectories(directory.resolve(name));
    return new EmbeddedTargetService(
        EmbeddedTargetService.Settings.at(state, InetAddress.getByName("127.0.0.1")).within(limits),
        new FileExportJournal(state.resolve("journal")));
  }

  private static Export export(String serial, BlockBackend disk) {
    return new Export(
        IQN,
        1,
        new Export.Backing.Device(disk),
        serial,
        serial,
        Optional.empty(),
        new Acl.Everybody(),
        true,
        false);
  }

  @AfterEach
  void stop() {
    cache.open.complete(null);
    service.close();
  }

  private IscsiUrl through(FaultyWire wire) {
    return new IscsiUrl(Optional.empty(), "127.0.0.1", wire.port(), url.iqn(), url.lun());
  }

  private static ByteBuffer filled(int length, int value) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(length);
    while (buffer.hasRemaining()) {
      buffer.put((byte) value);
    }
    return buffer.flip();
  }

  /** One write of 64 KiB for each session, and more: all of them are under way at once. */
  private static List<CompletableFuture<Void>> write(IscsiDisk disk, int count) {
    List<CompletableFuture<Void>> writes = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      writes.add(disk.write(i * 64L * KIB, filled(64 * KIB, i + 1)));
    }
    return writes;
  }

  private static Kind failure(CompletableFuture<?> request) {
    try {
      IscsiDisk.await(request, SOON);
    } catch (BlockException e) {
      return e.kind();
    }
    throw new AssertionError("succeeded");
  }

  @Test
  void aFlushCoversWhatCompletedInAllSessions() throws Exception {
    try (FaultyWire wire = FaultyWire.sound(url.port());
        IscsiDisk disk = IscsiInitiator.connect(through(wire), THREE)) {
      List<Long> before = List.of(wire.fromClient(0), wire.fromClient(1), wire.fromClient(2));
      cache.open = new CompletableFuture<>();
      List<CompletableFuture<Void>> writes = write(disk, 12);
      for (int i = 0; i < 3; i++) {
        int session = i;
        await()
            .atMost(SOON)
            .until(() -> wire.fromClient(session) >= before.get(session) + 4 * 64 * KIB);
      }
      cache.open.complete(null);
      for (CompletableFuture<Void> write : writes) {
        IscsiDisk.await(write, SOON);
      }

      IscsiDisk.await(disk.flush(), SOON);
      cache.failPower();

      for (int i = 0; i < 12; i++) {
        ByteBuffer back = ByteBuffer.allocate(64 * KIB);
        IscsiDisk.await(disk.read(i * 64L * KIB, back), SOON);
        assertThat(back.clear()).as("write %d", i).isEqualTo(filled(64 * KIB, i + 1));
      }
    }
  }

  @Test
  void aLargeRequestGoesByAllOfThem() throws Exception {
    try (FaultyWire wire = FaultyWire.sound(url.port());
        IscsiDisk disk = IscsiInitiator.connect(through(wire), THREE)) {
      assertThat(disk.sessions()).isEqualTo(3);
      cache.open = new CompletableFuture<>();
      CompletableFuture<Void> write = disk.write(0, filled(MIB, 7));
      await()
          .atMost(SOON)
          .until(() ->
              IntStream.range(0, 3).allMatch(session -> wire.fromClient(session) > 256 * KIB));
      cache.open.complete(null);
      IscsiDisk.await(write, SOON);
    }
  }

  /** Also those whose own connections are well: what one has learnt is true of the disk. */
  @Test
  void oneLostConnectionEndsThemAllAndAllAreFenced() throws Exception {
    try (FaultyWire wire = FaultyWire.sound(url.port())) {
      IscsiDisk disk = IscsiInitiator.connect(through(wire), THREE);
      cache.open = new CompletableFuture<>();
      List<CompletableFuture<Void>> writes = write(disk, 12);
      await().atMost(SOON).until(() -> !service.drained(IQN));

      wire.cut(1);

      for (CompletableFuture<Void> write : writes) {
        assertThat(failure(write)).isEqualTo(Kind.LOST);
      }
      assertThat(failure(disk.flush())).isEqualTo(Kind.LOST);
      assertThat(failure(disk.read(0, ByteBuffer.allocate(4096)))).isEqualTo(Kind.LOST);
      assertThat(wire.connections()).as("no reconnection by itself").isEqualTo(3);

      CompletableFuture<Void> closed = CompletableFuture.runAsync(disk::close);
      await().atMost(SOON).until(() -> wire.connections() == 4);
      assertThat(disk.fenced()).as("the target still writes").isNotDone();
      cache.open.complete(null);
      assertThat(disk.fenced()).succeedsWithin(SOON).isEqualTo(true);
      closed.join();
      assertThat(service.drained(IQN)).isTrue();
    }
  }

  @Test
  void aResetByAnotherEndsThemAll() throws Exception {
    IscsiDisk disk = IscsiInitiator.connect(url, THREE);
    try (EventLoop loop = new EventLoop("other")) {
      Session other =
          IscsiInitiator.login(url, IscsiOptions.defaults(), loop, IscsiInitiator.newIsid());
      assertThat(other.resetUnit()).succeedsWithin(SOON).isEqualTo(0);
      other.drop();
    }
    assertThat(failure(disk.flush())).isEqualTo(Kind.RESET);
    assertThat(write(disk, 3)).allSatisfy(w -> assertThat(failure(w)).isEqualTo(Kind.RESET));
    disk.close();
    assertThat(disk.fenced()).isCompletedWithValue(true);
  }

  @Test
  void closingWaitsForTheWritesOfEach() throws Exception {
    IscsiDisk disk = IscsiInitiator.connect(url, THREE);
    cache.open = new CompletableFuture<>();
    List<CompletableFuture<Void>> writes = write(disk, 3);
    await().atMost(SOON).until(() -> !service.drained(IQN));
    CompletableFuture<Void> closed = CompletableFuture.runAsync(disk::close);
    await().atMost(SOON).until(() -> failsAsClosed(disk));
    assertThat(disk.fenced()).isNotDone();
    cache.open.complete(null);
    for (CompletableFuture<Void> write : writes) {
      IscsiDisk.await(write, SOON);
    }
    assertThat(disk.fenced()).succeedsWithin(SOON).isEqualTo(true);
    closed.join();
  }

  private static boolean failsAsClosed(IscsiDisk disk) {
    CompletableFuture<Void> flush = disk.flush();
    try {
      IscsiDisk.await(flush, SOON);
      return false;
    } catch (BlockException e) {
      return e.kind() == Kind.CLOSED;
    }
  }

  @Test
  void aTargetThatAdmitsFewerIsServedByThose() throws Exception {
    service.close();
    EmbeddedTargetService.Limits all = EmbeddedTargetService.Limits.defaults();
    // Not the one before again: that would want its port, which somebody may have by now.
    start(
        "few",
        new EmbeddedTargetService.Limits(
            all.connections(),
            2,
            all.buffers(),
            all.connectionBuffers(),
            all.login(),
            all.write(),
            all.data(),
            all.idle(),
            all.close()));
    try (IscsiDisk disk = IscsiInitiator.connect(url, THREE)) {
      assertThat(disk.sessions()).isEqualTo(2);
      for (CompletableFuture<Void> write : write(disk, 6)) {
        IscsiDisk.await(write, SOON);
      }
    }
  }

  @Test
  void anotherDiskBehindAnotherSessionIsRefused() throws Exception {
    EmbeddedTargetService impostor = service("second", EmbeddedTargetService.Limits.defaults());
    try {
      IscsiUrl other = impostor.open(export("other", new MemoryBackend("other", 16 * MIB)));
      try (FaultyWire wire =
          new FaultyWire(
              connection -> connection == 1 ? other.port() : url.port(),
              FaultyWire.Fault.CUT,
              Long.MAX_VALUE / 4)) {
        assertThatThrownBy(() -> IscsiInitiator.connect(through(wire), THREE))
            .isInstanceOfSatisfying(
                BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.PROTOCOL))
            .hasMessageContaining("another disk");
      }
    } finally {
      impostor.close();
    }
  }
}
