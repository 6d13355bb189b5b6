package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.embedded.EmbeddedTargetService.Limits;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.Pdu.Stage;
import io.xenferry.iscsi.pdu.TextKeys;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.io.EOFException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Initiators that keep no rule: none hangs, bloats or ends the target, and others are served. */
@Timeout(120)
class HostileInitiatorTest {
  private static final String IQN = "iqn.2026-01.io.xenferry:victim";
  private static final String ME = "iqn.2026-01.io.xenferry:hostile";
  private static final Credentials ACCOUNT = new Credentials("user", "secret-of-initiator");
  private static final Credentials OWN = new Credentials("target", "secret-of-target");
  private static final int MIB = 1 << 20;

  /** A wait for what the target must do by itself; it only matters when that fails. */
  private static final int PATIENCE_MILLIS = 30_000;

  @TempDir Path directory;
  private EmbeddedTargetService service;
  private IscsiUrl url;

  /** Long enough for an initiator on a busy machine, short enough to wait for. */
  private static final Duration SOON = Duration.ofSeconds(2);

  @BeforeEach
  void start() throws Exception {
    start(4, 4 * MIB, Duration.ofSeconds(60));
  }

  private void start(int sessions, long connectionBuffers, Duration idle) throws Exception {
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1"))
                .within(
                    new Limits(
                        64,
                        sessions,
                        64 * MIB,
                        connectionBuffers,
                        SOON,
                        SOON,
                        SOON,
                        idle,
                        Duration.ofSeconds(15))),
            new FileExportJournal(directory.resolve("journal")));
    url = service.open(export(IQN, Optional.empty()));
  }

  private void startAnew(int sessions, long connectionBuffers, Duration idle) throws Exception {
    service.close();
    start(sessions, connectionBuffers, idle);
  }

  @AfterEach
  void stop() {
    service.close();
  }

  private Export export(String iqn, Optional<Credentials> account) throws IOException {
    String name = iqn.substring(iqn.indexOf(':') + 1);
    Path file = directory.resolve(name);
    try (RandomAccessFile disk = new RandomAccessFile(file.toFile(), "rw")) {
      disk.setLength(16 * MIB);
    }
    return new Export(
        iqn,
        1,
        new Export.Backing.File(file),
        name,
        name,
        account,
        new Acl.ByAddress("127.0.0.1"),
        true,
        false);
  }

  /** A conversation byte by byte. */
  private final class Peer implements AutoCloseable {
    final Socket socket;
    int cmdSn = 1;
    int itt = 1;

    Peer() throws IOException {
      socket = new Socket("127.0.0.1", url.port());
      socket.setSoTimeout(PATIENCE_MILLIS);
    }

    void send(Pdu pdu, byte[] data) throws IOException {
      socket.getOutputStream().write(bytes(pdu, data));
    }

    Pdu receive() throws Exception {
      ByteBuffer header = ByteBuffer.wrap(exactly(Headers.LENGTH));
      exactly((HeaderReader.dataLength(header) + 3) & ~3);
      return HeaderReader.read(header);
    }

    private byte[] exactly(int length) throws IOException {
      byte[] bytes = socket.getInputStream().readNBytes(length);
      if (bytes.length < length) {
        throw new EOFException();
      }
      return bytes;
    }

    Pdu.LoginResponse login(int tsih, long isid) throws Exception {
      send(loginRequest(tsih, isid), identity());
      return (Pdu.LoginResponse) receive();
    }

    Peer loggedIn() throws Exception {
      return loggedIn(7);
    }

    Peer loggedIn(long isid) throws Exception {
      assertThat(login(0, isid).status()).isZero();
      // Nothing is said of the disk before the unit attention of the login is taken.
      command(Cdb.testUnitReady(), 0, true, new byte[0]);
      receive();
      return this;
    }

    void command(byte[] cdb, int length, boolean last, byte[] immediate) throws IOException {
      send(write(cdb, length, last), immediate);
    }

    Pdu.ScsiCommand write(byte[] cdb, int length, boolean last) {
      return new Pdu.ScsiCommand(
          false, last, false, length > 0, 1L << 48, itt++, length, cmdSn++, 0, cdb);
    }

    /** The target ends the connection, whatever it says before. */
    void expectEnd() throws IOException {
      try {
        while (socket.getInputStream().read() >= 0) {}
      } catch (SocketException reset) {
        // As good as an end.
      }
    }

    @Override
    public void close() throws IOException {
      socket.close();
    }
  }

  private static Pdu.LoginRequest loginRequest(int tsih, long isid) {
    return new Pdu.LoginRequest(
        true, false, Stage.OPERATIONAL, Stage.FULL_FEATURE, isid, tsih, 0, 0, 1, 0);
  }

  private static byte[] identity() {
    return new TextKeys()
        .set("InitiatorName", ME)
        .set("SessionType", "Normal")
        .set("TargetName", IQN)
        .set("InitialR2T", "No")
        .toBytes();
  }

  private static byte[] bytes(Pdu pdu, byte[] data) {
    ByteBuffer all = ByteBuffer.allocate(Headers.LENGTH + ((data.length + 3) & ~3));
    Headers.write(pdu, data.length, all);
    all.clear().position(Headers.LENGTH);
    return all.put(data).array();
  }

  private void expectAllIsWell() throws Exception {
    try (IscsiDisk disk = IscsiInitiator.connect(url, IscsiOptions.defaults())) {
      IscsiDisk.await(disk.write(MIB, ByteBuffer.wrap(new byte[65536])), Duration.ofSeconds(20));
    }
    long deadline = System.nanoTime() + PATIENCE_MILLIS * 1_000_000L;
    while (service.buffersInUse() != 0 || !service.drained(IQN)) {
      assertThat(System.nanoTime())
          .as("%d bytes in use", service.buffersInUse())
          .isLessThan(deadline);
      Thread.onSpinWait();
    }
  }

  @Test
  void silenceAtEachByteOfALoginEndsIt() throws Exception {
    byte[] login = bytes(loginRequest(0, 7), identity());
    List<Peer> peers = new ArrayList<>();
    for (int cut = 0; cut < login.length; cut += 4) {
      Peer peer = new Peer();
      peer.socket.getOutputStream().write(login, 0, cut);
      peers.add(peer);
      if (peers.size() == 32) {
        endAll(peers);
      }
    }
    endAll(peers);
    expectAllIsWell();
  }

  @Test
  void silenceAtEachByteOfACommandEndsTheSession() throws Exception {
    List<Peer> peers = new ArrayList<>();
    for (int cut = 1; cut < Headers.LENGTH + 4096; cut += cut < 64 ? 13 : 1500) {
      Peer peer = new Peer().loggedIn(cut);
      byte[] command = bytes(peer.write(Cdb.write(0, 8), 4096, true), new byte[4096]);
      peer.socket.getOutputStream().write(command, 0, cut);
      peers.add(peer);
      if (peers.size() == 4) {
        endAll(peers);
      }
    }
    endAll(peers);
    expectAllIsWell();
  }

  private static void endAll(List<Peer> peers) throws IOException {
    for (Peer peer : peers) {
      peer.expectEnd();
      peer.close();
    }
    peers.clear();
  }

  @Test
  void dataThatIsPromisedAndNeverComesEndsTheSession() throws Exception {
    try (Peer asked = new Peer().loggedIn(1);
        Peer unasked = new Peer().loggedIn(2)) {
      asked.command(Cdb.write(0, 2048), MIB, true, new byte[0]);
      unasked.command(Cdb.write(0, 128), 65536, false, new byte[0]);
      assertThat(asked.receive()).isInstanceOf(Pdu.R2t.class);
      asked.expectEnd();
      unasked.expectEnd();
    }
    expectAllIsWell();
  }

  @Test
  void whoDoesNotAnswerIsTakenForDead() throws Exception {
    startAnew(4, 4 * MIB, Duration.ofMillis(500));
    try (Peer peer = new Peer().loggedIn()) {
      Pdu.NopIn ping = (Pdu.NopIn) peer.receive();
      assertThat(ping.itt()).isEqualTo(Pdu.NO_TAG);
      peer.send(new Pdu.NopOut(true, 0, Pdu.NO_TAG, ping.ttt(), peer.cmdSn, 0), new byte[0]);
      // It answered, and is asked again.
      assertThat(peer.receive()).isInstanceOf(Pdu.NopIn.class);
      peer.expectEnd();
    }
    expectAllIsWell();
  }

  @Test
  void whoTakesNothingOfWhatItAskedForIsDropped() throws Exception {
    startAnew(4, 32 * MIB, Duration.ofSeconds(60));
    try (Peer peer = new Peer().loggedIn()) {
      peer.socket.setReceiveBufferSize(4096);
      for (int i = 0; i < 60; i++) {
        peer.send(
            new Pdu.ScsiCommand(
                true,
                true,
                true,
                false,
                1L << 48,
                peer.itt++,
                MIB,
                peer.cmdSn,
                0,
                Cdb.read(0, 2048)),
            new byte[0]);
      }
      long deadline = System.nanoTime() + PATIENCE_MILLIS * 1_000_000L;
      while (!service.drained(IQN)) {
        assertThat(System.nanoTime()).isLessThan(deadline);
        Thread.onSpinWait();
      }
    }
    expectAllIsWell();
  }

  @Test
  void oversizedAndMisplacedPdusEndTheSession() throws Exception {
    List<byte[]> bad = new ArrayList<>();
    byte[] oversized = bytes(new Pdu.NopOut(true, 0, 5, Pdu.NO_TAG, 1, 0), new byte[0]);
    oversized[5] = oversized[6] = oversized[7] = (byte) 0xFF;
    bad.add(oversized);
    byte[] additional = bytes(new Pdu.NopOut(true, 0, 5, Pdu.NO_TAG, 1, 0), new byte[0]);
    additional[4] = 3;
    bad.add(additional);
    bad.add(bytes(loginRequest(0, 7), identity()));
    bad.add(bytes(new Pdu.LogoutResponse(1, new Pdu.Sn(1, 1, 1), 0), new byte[0]));
    for (byte[] pdu : bad) {
      try (Peer peer = new Peer().loggedIn()) {
        peer.socket.getOutputStream().write(pdu);
        peer.expectEnd();
      }
    }
    try (Peer peer = new Peer().loggedIn()) {
      peer.command(Cdb.write(0, 2048), MIB, true, new byte[0]);
      Pdu.R2t asked = (Pdu.R2t) peer.receive();
      // Beyond what was asked for.
      peer.send(
          new Pdu.DataOut(true, 1L << 48, asked.itt(), asked.ttt(), 0, 0, MIB), new byte[4096]);
      peer.expectEnd();
    }
    expectAllIsWell();
  }

  @Test
  void commandsOutsideOfTheWindowAreIgnored() throws Exception {
    try (Peer peer = new Peer().loggedIn()) {
      int next = peer.cmdSn;
      peer.cmdSn = next + 1000;
      peer.command(Cdb.testUnitReady(), 0, true, new byte[0]);
      peer.cmdSn = next - 1;
      peer.command(Cdb.testUnitReady(), 0, true, new byte[0]);
      peer.cmdSn = next;
      int answered = peer.itt;
      peer.command(Cdb.testUnitReady(), 0, true, new byte[0]);

      assertThat(peer.receive())
          .isInstanceOfSatisfying(
              Pdu.ScsiResponse.class,
              response -> {
                assertThat(response.itt()).isEqualTo(answered);
                assertThat(response.status()).isZero();
              });
    }
    expectAllIsWell();
  }

  @Test
  void noConnectionTakesTheBuffersOfAll() throws Exception {
    try (Peer peer = new Peer().loggedIn();
        IscsiDisk other = IscsiInitiator.connect(url, IscsiOptions.defaults())) {
      int full = 0;
      for (int i = 0; i < 8; i++) {
        peer.command(Cdb.write(0, 2048), MIB, true, new byte[0]);
        if (peer.receive() instanceof Pdu.ScsiResponse response) {
          assertThat(response.status()).isEqualTo(0x28);
          full++;
        }
      }
      assertThat(full).isEqualTo(4);
      IscsiDisk.await(other.write(0, ByteBuffer.wrap(new byte[MIB])), Duration.ofSeconds(20));
    }
    expectAllIsWell();
  }

  @Test
  void asSecondConnectionsAreRefusedAndTooManySessions() throws Exception {
    try (Peer first = new Peer()) {
      Pdu.LoginResponse in = first.login(0, 7);
      try (Peer second = new Peer();
          Peer stranger = new Peer()) {
        assertThat(second.login(in.tsih(), 7).status()).isEqualTo(0x0206);
        second.expectEnd();
        assertThat(stranger.login(in.tsih() + 1, 7).status()).isEqualTo(0x020A);
      }
      List<Peer> more = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        more.add(new Peer());
        assertThat(more.getLast().login(0, 100 + i).status()).isZero();
      }
      try (Peer oneTooMany = new Peer();
          Peer again = new Peer()) {
        assertThat(oneTooMany.login(0, 200).status()).isEqualTo(0x0302);
        // The same port comes again, and takes its own place.
        assertThat(again.login(0, 100).status()).isZero();
      }
      for (Peer peer : more) {
        peer.close();
      }
    }
    expectAllIsWell();
  }

  @Test
  void randomPdusAfterALoginHarmNobody() throws Exception {
    Random random = new Random(11);
    for (int i = 0; i < 150; i++) {
      try (Peer peer = new Peer().loggedIn()) {
        for (int n = 0; n < 20; n++) {
          byte[] pdu =
              bytes(peer.write(Cdb.write(random.nextInt(100), 8), 4096, true), new byte[4096]);
          pdu[0] = (byte) (random.nextInt(8) == 0 ? random.nextInt() : pdu[0]);
          for (int flips = random.nextInt(4); flips > 0; flips--) {
            int at = random.nextInt(48);
            // Lengths stay small, so that most of it is looked at as PDUs.
            pdu[at == 5 ? 6 : at] = (byte) random.nextInt();
          }
          peer.socket.getOutputStream().write(pdu);
        }
      } catch (SocketException thrownOut) {
        // It has seen enough.
      }
    }
    expectAllIsWell();
  }

  @Test
  void bothSidesProveThemselves() throws Exception {
    IscsiUrl mutual =
        service.open(
            export("iqn.2026-01.io.xenferry:mutual", Optional.of(ACCOUNT)).withOwnAccount(OWN));
    IscsiOptions options = IscsiOptions.defaults();

    IscsiInitiator.connect(mutual, options.withTargetAccount(OWN)).close();
    // Who does not ask is not told.
    IscsiInitiator.connect(mutual, options).close();
    for (Credentials wrong :
        List.of(new Credentials("target", "another-secret"), new Credentials("x", OWN.secret()))) {
      assertThatThrownBy(
              () -> IscsiInitiator.connect(mutual, options.withTargetAccount(wrong)).close())
          .isInstanceOfSatisfying(
              BlockException.class,
              e -> assertThat(e.kind()).isEqualTo(BlockException.Kind.ACCESS));
    }
    IscsiUrl oneWay =
        service.open(
            export(
                "iqn.2026-01.io.xenferry:one-way",
                Optional.of(new Credentials("other", "one-way-secret"))));
    assertThatThrownBy(() -> IscsiInitiator.connect(oneWay, options.withTargetAccount(OWN)).close())
        .isInstanceOf(BlockException.class);
    assertThatThrownBy(() ->
            export("iqn.2026-01.io.xenferry:same", Optional.of(ACCOUNT)).withOwnAccount(ACCOUNT))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(service.list())
        .isEqualTo(new FileExportJournal(directory.resolve("journal")).open());
  }

  @Test
  void digestsAreKeptAndAWrongOneEndsTheSession() throws Exception {
    byte[] content = new byte[3 * 65536 + 512];
    new Random(5).nextBytes(content);
    try (IscsiDisk disk = IscsiInitiator.connect(url, IscsiOptions.defaults().withDigests())) {
      IscsiDisk.await(disk.write(4096, ByteBuffer.wrap(content)), Duration.ofSeconds(20));
      ByteBuffer back = ByteBuffer.allocate(content.length);
      IscsiDisk.await(disk.read(4096, back), Duration.ofSeconds(20));
      assertThat(back.array()).isEqualTo(content);
    }
    try (Peer peer = new Peer()) {
      peer.send(
          loginRequest(0, 7),
          TextKeys.parse(ByteBuffer.wrap(identity())).set("HeaderDigest", "CRC32C").toBytes());
      assertThat(((Pdu.LoginResponse) peer.receive()).status()).isZero();
      byte[] ping = bytes(new Pdu.NopOut(true, 0, 5, Pdu.NO_TAG, 1, 0), new byte[0]);
      peer.socket.getOutputStream().write(ping);
      peer.socket.getOutputStream().write(new byte[] {1, 2, 3, 4});
      peer.expectEnd();
    }
    expectAllIsWell();
  }
}
