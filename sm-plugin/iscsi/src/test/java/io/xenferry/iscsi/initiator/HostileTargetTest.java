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
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.initiator.FaultyWire.Fault;
import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Targets and wires that misbehave: a clear failure in time, never a hang, never a replay. */
@Timeout(120)
class HostileTargetTest {
  private static final int MIB = 1 << 20;

  /** Only for logins that cannot succeed: nothing depends on their being fast enough. */
  private static final IscsiOptions HASTY =
      IscsiOptions.defaults()
          .withLoginTimeout(Duration.ofMillis(250))
          .withCommandTimeout(Duration.ofMillis(250))
          .withCloseTimeout(Duration.ofSeconds(1));

  private static final IscsiOptions PATIENT =
      IscsiOptions.defaults().withCloseTimeout(Duration.ofSeconds(20));

  private static final Duration SOON = Duration.ofSeconds(20);

  @TempDir Path directory;
  private EmbeddedTargetService service;
  private Gate gate;
  private IscsiUrl url;

  /** A disk whose writes stay under way while the gate is shut. */
  private static final class Gate extends ForwardingBackend {
    private volatile CompletableFuture<Void> open = CompletableFuture.completedFuture(null);

    Gate(BlockBackend backend) {
      super(backend);
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      return open.thenCompose(ok -> super.write(offset, from));
    }
  }

  @BeforeEach
  void start() throws Exception {
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
    gate = new Gate(new MemoryBackend("memory", 64 * MIB));
    url =
        service.open(
            new Export(
                "iqn.2026-01.io.xenferry:gate",
                1,
                new Export.Backing.Device(gate),
                "gate",
                "gate",
                Optional.of(new Credentials("user", "secret-word")),
                new Acl.Everybody(),
                true,
                false));
  }

  @AfterEach
  void stop() {
    gate.open.complete(null);
    service.close();
  }

  private IscsiUrl through(FaultyWire wire) {
    return new IscsiUrl(url.credentials(), "127.0.0.1", wire.port(), url.iqn(), url.lun());
  }

  private static void assertKind(CompletableFuture<?> request, Kind... kinds) {
    assertThatThrownBy(() -> IscsiDisk.await(request, SOON))
        .isInstanceOfSatisfying(
            BlockException.class, e -> assertThat(e.kind()).isIn((Object[]) kinds));
  }

  @ParameterizedTest
  @EnumSource(Fault.class)
  void aFaultAtAnyByteOfLoginAndProbeIsAnError(Fault fault) throws Exception {
    for (int bytes : new int[] {0, 1, 47, 48, 60, 120, 200, 300, 500, 620, 700, 900, 1100}) {
      try (FaultyWire wire = new FaultyWire(url.port(), fault, bytes)) {
        assertThatThrownBy(() -> IscsiInitiator.connect(through(wire), HASTY).close())
            .as("%s after %d bytes", fault, bytes)
            .isInstanceOfSatisfying(
                BlockException.class,
                e ->
                    assertThat(e.kind())
                        .isIn(Kind.LOST, Kind.TIMEOUT, Kind.PROTOCOL, Kind.ACCESS, Kind.IO));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Fault.class)
  void aFaultAtAnyByteOfALookAtAllUnitsIsAnError(Fault fault) throws Exception {
    for (int bytes : new int[] {0, 47, 300, 620, 700, 760, 800, 1000}) {
      try (FaultyWire wire = new FaultyWire(url.port(), fault, bytes)) {
        assertThatThrownBy(() -> IscsiInitiator.units(through(wire), HASTY))
            .as("%s after %d bytes", fault, bytes)
            .isInstanceOf(BlockException.class);
      }
    }
  }

  @Test
  void aPeerThatOnlyListensIsATimeout() throws Exception {
    try (ServerSocket mute = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))) {
      IscsiUrl nobody =
          new IscsiUrl(Optional.empty(), "127.0.0.1", mute.getLocalPort(), url.iqn(), 1);
      assertThatThrownBy(() -> IscsiInitiator.connect(nobody, HASTY))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.TIMEOUT));
    }
  }

  @Test
  void aGiantLoginSegmentIsRefusedUnread() throws Exception {
    try (ServerSocket server = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))) {
      Thread.ofVirtual()
          .start(() -> {
            try (Socket socket = server.accept()) {
              ByteBuffer header = ByteBuffer.allocate(48);
              Headers.write(
                  new Pdu.LoginResponse(
                      false,
                      false,
                      Pdu.Stage.SECURITY,
                      Pdu.Stage.SECURITY,
                      0,
                      0,
                      0,
                      new Pdu.Sn(0, 0, 0),
                      0),
                  (1 << 24) - 1,
                  header);
              socket.getOutputStream().write(header.array());
              socket.getInputStream().transferTo(java.io.OutputStream.nullOutputStream());
            } catch (java.io.IOException e) {
              // The client has gone.
            }
          });
      IscsiUrl liar =
          new IscsiUrl(Optional.empty(), "127.0.0.1", server.getLocalPort(), url.iqn(), 1);
      assertThatThrownBy(() -> IscsiInitiator.connect(liar, PATIENT))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.PROTOCOL));
    }
  }

  @Test
  void mutualChapIsDemanded() {
    assertThatThrownBy(() ->
            IscsiInitiator.connect(
                url, PATIENT.withTargetAccount(new Credentials("target", "its-secret"))))
        .isInstanceOfSatisfying(
            BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS));
  }

  @Test
  void aCutConnectionIsLostForGoodAndFencedThroughAnother() throws Exception {
    try (FaultyWire wire = new FaultyWire(url.port(), Fault.CUT, Long.MAX_VALUE / 4)) {
      IscsiDisk disk = IscsiInitiator.connect(through(wire), PATIENT);
      gate.open = new CompletableFuture<>();
      List<CompletableFuture<Void>> writes = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        writes.add(disk.write((long) i * MIB, ByteBuffer.allocateDirect(MIB)));
      }
      await().until(() -> !service.drained(url.iqn()));

      wire.cut();

      for (CompletableFuture<Void> write : writes) {
        assertKind(write, Kind.LOST);
      }
      assertKind(disk.read(0, ByteBuffer.allocate(4096)), Kind.LOST);
      assertThat(wire.connections()).as("no reconnection by itself").isEqualTo(1);

      CompletableFuture<Void> closed = CompletableFuture.runAsync(disk::close);
      await().until(() -> wire.connections() == 2);
      assertThat(disk.fenced()).isNotDone();
      gate.open.complete(null);
      assertThat(disk.fenced()).succeedsWithin(SOON).isEqualTo(true);
      closed.join();
    }
  }

  @Test
  void aWriteThatNeverEndsIsATimeoutAndNotFenced() throws Exception {
    IscsiDisk disk =
        IscsiInitiator.connect(
            url,
            PATIENT
                .withCommandTimeout(Duration.ofSeconds(1))
                .withCloseTimeout(Duration.ofSeconds(1)));
    gate.open = new CompletableFuture<>();

    assertKind(disk.write(0, ByteBuffer.allocateDirect(MIB)), Kind.TIMEOUT);
    disk.close();

    assertThat(disk.fenced()).isCompletedWithValue(false);
  }

  @Test
  void aTimeoutIsFencedByAResetOnTheSameConnection() throws Exception {
    IscsiDisk disk = IscsiInitiator.connect(url, PATIENT.withCommandTimeout(Duration.ofSeconds(1)));
    gate.open = new CompletableFuture<>();
    CompletableFuture<Void> write = disk.write(0, ByteBuffer.allocateDirect(MIB));
    assertKind(write, Kind.TIMEOUT);
    gate.open.complete(null);

    disk.close();

    assertThat(disk.fenced()).isCompletedWithValue(true);
  }

  @Test
  void silenceIsNoticedWithoutRequests() throws Exception {
    try (FaultyWire wire = new FaultyWire(url.port(), Fault.SILENCE, Long.MAX_VALUE / 4)) {
      IscsiDisk disk =
          IscsiInitiator.connect(
              through(wire),
              PATIENT.withKeepAlive(Duration.ofSeconds(1)).withCloseTimeout(Duration.ofSeconds(1)));
      long before = wire.passed();
      // Two answers to pings, which are all that an idle session has to say.
      await().atMost(SOON).until(() -> wire.passed() >= before + 2 * 48);
      assertThat(disk.failureKind()).isEmpty();

      wire.faultNow();

      await().atMost(SOON).until(() -> disk.failureKind().isPresent());
      assertThat(disk.failureKind()).contains(Kind.TIMEOUT);
      disk.close();
      assertThat(disk.fenced()).as("nothing was under way").isCompletedWithValue(true);
    }
  }

  @Test
  void aPingOfTheTargetIsAnswered() throws Exception {
    try (FaultyWire wire = new FaultyWire(url.port(), Fault.SILENCE, Long.MAX_VALUE / 4)) {
      IscsiDisk disk =
          IscsiInitiator.connect(through(wire), PATIENT.withKeepAlive(Duration.ofMinutes(5)));
      ByteBuffer ping = ByteBuffer.allocate(48);
      Headers.write(new Pdu.NopIn(0, Pdu.NO_TAG, 0x1234, new Pdu.Sn(0, 0, -1)), 0, ping);

      wire.inject(ping.array());

      await()
          .atMost(SOON)
          .untilAsserted(() -> {
            ByteBuffer answer = ByteBuffer.wrap(wire.lastFromClient());
            assertThat(answer.remaining()).isEqualTo(48);
            assertThat(answer.get(0) & 0x3F).as("NOP-Out").isEqualTo(0);
            assertThat(answer.getInt(16)).as("no task").isEqualTo(Pdu.NO_TAG);
            assertThat(answer.getInt(20)).as("the target's tag").isEqualTo(0x1234);
          });
      IscsiDisk.await(disk.flush(), SOON);
      disk.close();
    }
  }

  @Test
  void junkAmongDataKillsTheSession() throws Exception {
    try (FaultyWire wire = new FaultyWire(url.port(), Fault.JUNK, Long.MAX_VALUE / 4)) {
      IscsiDisk disk = IscsiInitiator.connect(through(wire), PATIENT);
      wire.faultNow();
      ByteBuffer into = ByteBuffer.allocateDirect(MIB);
      assertKind(disk.read(0, into), Kind.PROTOCOL, Kind.LOST, Kind.TIMEOUT);
      assertThat(disk.failureKind()).isPresent();
      disk.close();
    }
  }

  @Test
  void aResetByAnotherIsSeenOnceAndEndsTheDisk() throws Exception {
    IscsiDisk disk = IscsiInitiator.connect(url, PATIENT);
    IscsiDisk.await(disk.write(0, ByteBuffer.allocate(4096)), SOON);
    try (EventLoop loop = new EventLoop("other")) {
      Session other = IscsiInitiator.login(url, PATIENT, loop, IscsiInitiator.newIsid());
      assertThat(other.resetUnit()).succeedsWithin(SOON).isEqualTo(0);
      other.drop();
    }

    assertKind(disk.flush(), Kind.RESET);
    assertKind(disk.write(0, ByteBuffer.allocate(4096)), Kind.RESET);
    disk.close();
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void closingAnExportWaitsForWhatTheBackendHas(boolean connected) throws Exception {
    IscsiDisk disk = IscsiInitiator.connect(url, PATIENT);
    gate.open = new CompletableFuture<>();
    disk.write(0, ByteBuffer.allocateDirect(MIB));
    await().until(() -> !service.drained(url.iqn()));
    if (!connected) {
      CompletableFuture.runAsync(disk::close);
    }

    CompletableFuture<Void> closed =
        CompletableFuture.runAsync(() -> {
          try {
            service.close(url.iqn());
          } catch (io.xenferry.iscsi.target.TargetException e) {
            throw new java.util.concurrent.CompletionException(e);
          }
        });

    await().during(Duration.ofMillis(300)).until(() -> !closed.isDone());
    gate.open.complete(null);
    assertThat(closed).succeedsWithin(SOON);
    disk.close();
  }

  @Test
  void loginAgainTakesTheOldSessionsPlace() throws Exception {
    try (EventLoop loop = new EventLoop("two")) {
      long isid = IscsiInitiator.newIsid();
      Session first = IscsiInitiator.login(url, PATIENT, loop, isid);
      Session second = IscsiInitiator.login(url, PATIENT, loop, isid);
      await().until(() -> first.failure() != null);
      assertThat(second.failure()).isNull();
      second.drop();
    }
  }

  @Test
  void whatExceedsTheFirstBurstGoesByR2t() throws Exception {
    try (EventLoop loop = new EventLoop("r2t")) {
      Session session = IscsiInitiator.login(url, PATIENT, loop, IscsiInitiator.newIsid());
      session
          .submit(Cdb.testUnitReady(), Command.Direction.NONE, null, false, false)
          .get(20, TimeUnit.SECONDS);
      byte[] content = new byte[4 * MIB];
      new java.util.Random(5).nextBytes(content);

      session
          .submit(
              Cdb.write(16, content.length / 512),
              Command.Direction.WRITE,
              ByteBuffer.wrap(content),
              true,
              true)
          .get(20, TimeUnit.SECONDS);

      ByteBuffer back = ByteBuffer.allocateDirect(content.length);
      session
          .submit(Cdb.read(16, content.length / 512), Command.Direction.READ, back, false, true)
          .get(20, TimeUnit.SECONDS);
      byte[] read = new byte[content.length];
      back.get(0, read);
      assertThat(read).isEqualTo(content);
      session.drop();
    }
  }
}
