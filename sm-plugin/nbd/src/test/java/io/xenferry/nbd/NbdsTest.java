package io.xenferry.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.ExternalTools;
import io.xenferry.block.FileBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.LinkTimes;
import io.xenferry.block.MemoryBackend;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Exports whose name is a secret, over TLS. */
class NbdsTest {
  private static final int MIB = 1 << 20;
  private static final String NAME = "6f".repeat(32);

  @TempDir static Path shared;
  private static TestCertificate ours;
  private static TestCertificate others;

  @TempDir Path dir;
  private NbdExportServer server;
  private final HeldWrites disk = new HeldWrites(new MemoryBackend("disk", 16L * MIB));

  @BeforeAll
  static void certificates() throws Exception {
    ours = TestCertificate.make(shared, "ours");
    others = TestCertificate.make(shared, "others");
  }

  @BeforeEach
  void listen() throws Exception {
    listen(
        new NbdExportServer.Limits(
            8, 16, 64L << 20, Duration.ofSeconds(20), Duration.ofSeconds(20)));
    server.add(NAME, disk);
  }

  private void listen(NbdExportServer.Limits limits) throws Exception {
    server =
        NbdExportServer.listenForSecrets(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            limits,
            SslUpgrade.server(ours.context(any -> true)));
  }

  @AfterEach
  void stop() {
    server.close();
    disk.close();
  }

  private static NbdClient.Options trusting(TestCertificate certificate) throws Exception {
    return NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(certificate.pinned()));
  }

  private NbdClient connect(String name) throws Exception {
    return NbdClient.connect(server.uri(name), trusting(ours));
  }

  private static <T> T await(CompletableFuture<T> future) throws Exception {
    return future.get(20, TimeUnit.SECONDS);
  }

  private static Kind failure(CompletableFuture<?> future) throws Exception {
    try {
      await(future);
    } catch (Exception e) {
      return BlockRequests.unwrap(e).kind();
    }
    throw new AssertionError("succeeded");
  }

  private void assertRefused(Kind kind, String name, NbdClient.Options options) {
    assertThatThrownBy(() -> NbdClient.connect(server.uri(name), options))
        .isInstanceOfSatisfying(BlockException.class, e -> assertThat(e.kind()).isEqualTo(kind))
        .hasMessageNotContaining(NAME);
  }

  /** Writes that wait to be released. */
  private static final class HeldWrites extends ForwardingBackend {
    private final AtomicInteger held = new AtomicInteger();
    private volatile CompletableFuture<Void> released = CompletableFuture.completedFuture(null);

    HeldWrites(MemoryBackend memory) {
      super(memory);
    }

    void hold() {
      released = new CompletableFuture<>();
    }

    void release() {
      released.complete(null);
    }

    int held() {
      return held.get();
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      held.incrementAndGet();
      return released
          .thenCompose(go -> super.write(offset, from))
          .whenComplete((done, failure) -> held.decrementAndGet());
    }
  }

  @Test
  void onlyTheNameAndOnlyInFullOpensAnExport() throws Exception {
    for (String wrong :
        List.of("", "6f", NAME.substring(1), NAME + "6", NAME + ".x", NAME + ".-1", "." + NAME)) {
      assertRefused(Kind.ACCESS, wrong, trusting(ours));
    }
    NbdClient client = connect(NAME);
    await(client.write(0, ByteBuffer.allocate(4096)));
    client.close();
    assertThat(client.ended()).isTrue();
    assertThat(client.toString()).doesNotContain(NAME);
  }

  @Test
  void anotherCertificateThanThePinnedOneIsRefused() throws Exception {
    assertRefused(Kind.ACCESS, NAME, trusting(others));
    assertThat(server.clients(NAME)).isZero();
  }

  @Test
  void anExportForOneClientAsksForItsCertificate() throws Exception {
    server.add("mine", NbdExport.of(disk).onlyFor(others.fingerprint()));
    String server0 = ours.fingerprint();
    NbdClient.Options asOther =
        NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(others.context(server0::equals)));
    NbdClient.Options asOurs =
        NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(ours.context(server0::equals)));
    NbdClient.connect(server.uri("mine"), asOther).close();
    assertRefused(Kind.ACCESS, "mine", asOurs);
    assertRefused(Kind.ACCESS, "mine", trusting(ours));
  }

  @Test
  void withoutTlsNothingIsToldAndNothingOpened() throws Exception {
    NbdUri plain = new NbdUri(server.address(), NAME);
    assertThatThrownBy(() -> NbdClient.connect(plain, NbdClient.Options.DEFAULT))
        .isInstanceOfSatisfying(
            BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS));
    assertRefused(Kind.ACCESS, NAME, NbdClient.Options.DEFAULT);
    try (SocketChannel socket = SocketChannel.open(server.address())) {
      NbdChannel raw = new NbdChannel(socket);
      raw.readBytes(18);
      raw.frame()
          .putInt(NbdProtocol.FIXED_NEWSTYLE)
          .putLong(NbdProtocol.OPTION_MAGIC)
          .putInt(NbdProtocol.OPT_EXPORT_NAME)
          .putInt(NAME.length());
      raw.send(ByteBuffer.wrap(NAME.getBytes(java.nio.charset.StandardCharsets.UTF_8)));
      assertThatThrownBy(() -> raw.readBytes(1)).isInstanceOf(IOException.class);
    }
  }

  /** Between client and server: takes the offer of TLS out of what the server says. */
  @Test
  void aClientDoesNotGoOnWithoutTls() throws Exception {
    try (NbdExportServer open =
        NbdExportServer.listen(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      open.add(NAME, disk);
      NbdUri uri = new NbdUri(open.address(), NAME, true);
      NbdClient.Options options = trusting(ours);
      assertThatThrownBy(() -> NbdClient.connect(uri, options))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS))
          .hasMessageContaining("does not do TLS");
    }
  }

  @Test
  void aLaterGenerationDisplacesEarlierOnesAndWaitsForTheirWrites() throws Exception {
    NbdClient first = connect(NAME + ".7");
    NbdClient sameGeneration = connect(NAME + ".7");
    disk.hold();
    CompletableFuture<Void> stuck = first.write(0, ByteBuffer.allocate(4096));
    Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> disk.held() == 1);

    CompletableFuture<NbdClient> next = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            next.complete(connect(NAME + ".8"));
          } catch (Exception e) {
            next.completeExceptionally(e);
          }
        });
    // The old ones are cut at once, and the new one stays outside while a write is under way.
    assertThat(failure(stuck)).isEqualTo(Kind.LOST);
    assertThat(failure(sameGeneration.read(0, ByteBuffer.allocate(512)))).isEqualTo(Kind.LOST);
    assertThat(next).isNotDone();
    disk.release();
    NbdClient second = next.get(20, TimeUnit.SECONDS);
    await(second.write(0, ByteBuffer.allocate(4096)));

    assertRefused(Kind.ACCESS, NAME + ".7", trusting(ours));
    assertRefused(Kind.ACCESS, NAME, trusting(ours));
    first.close();
    assertThat(first.ended()).isFalse();
    second.close();
    assertThat(second.ended()).isTrue();
  }

  @Test
  void severalConnectionsAreOneDisk() throws Exception {
    NbdConnections all = NbdConnections.connect(server.uri(NAME + ".3"), trusting(ours), 4);
    assertThat(all.count()).isEqualTo(4);
    // The server counts one a moment after the client knows.
    Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> server.clients(NAME) == 4);
    byte[] noise = new byte[4 * MIB];
    new Random(5).nextBytes(noise);
    List<CompletableFuture<Void>> writes = new ArrayList<>();
    for (int at = 0; at < noise.length; at += 256 << 10) {
      writes.add(all.write(at, ByteBuffer.wrap(noise, at, 256 << 10)));
    }
    for (CompletableFuture<Void> write : writes) {
      await(write);
    }
    await(all.flush());
    ByteBuffer back = ByteBuffer.allocate(noise.length);
    await(disk.read(0, back));
    assertThat(back.array()).isEqualTo(noise);
    all.close();
    assertThat(all.ended()).isTrue();
  }

  /** Half a MiB, and what the connection tells of it. */
  private static LinkTimes written(NbdClient client) throws Exception {
    await(client.write(0, ByteBuffer.allocate(512 << 10)));
    // The answer to what followed the write need not have come yet.
    Awaitility.await()
        .atMost(Duration.ofSeconds(20))
        .until(() -> client.linkTimes().sampled().isPositive());
    return client.linkTimes();
  }

  @Test
  void writesTellHowLongTheyWereEncrypted() throws Exception {
    try (NbdClient client = NbdClient.connect(server.uri(NAME), trusting(ours).withMeasure())) {
      LinkTimes times = written(client);
      assertThat(times.encryption()).isPositive().isLessThanOrEqualTo(times.sampled());
    }
    try (NbdExportServer open =
            NbdExportServer.listen(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        NbdClient client = openly(open)) {
      LinkTimes times = written(client);
      assertThat(times.encryption()).isZero();
      assertThat(times.network()).isPositive();
    }
  }

  private NbdClient openly(NbdExportServer open) throws Exception {
    open.add("open", disk);
    return NbdClient.connect(
        new NbdUri(open.address(), "open"), NbdClient.Options.DEFAULT.withMeasure());
  }

  @Test
  void writesToASlowDiskDoNotWaitForTheNetwork() throws Exception {
    disk.hold();
    try (NbdClient client = NbdClient.connect(server.uri(NAME), trusting(ours).withMeasure())) {
      long began = System.nanoTime();
      CompletableFuture<Void> write = client.write(0, ByteBuffer.allocate(512 << 10));
      // Answered behind the question, whatever holds up the write; it took longer than the way.
      await(client.flush());
      long way = System.nanoTime() - began;
      CompletableFuture.delayedExecutor(3 * way, TimeUnit.NANOSECONDS).execute(disk::release);
      await(write);
      LinkTimes times = client.linkTimes();
      assertThat(times.network().plus(times.encryption()).multipliedBy(2))
          .isLessThan(times.sampled());
    }
  }

  @Test
  void writesOverASlowNetworkDo() throws Exception {
    try (CuttingRelay relay = new CuttingRelay((InetSocketAddress) server.address(), 100);
        NbdClient client =
            NbdClient.connect(
                new NbdUri(relay.address(), NAME, true), trusting(ours).withMeasure())) {
      LinkTimes times = written(client);
      assertThat(times.network().multipliedBy(2)).isGreaterThan(times.sampled());
    }
  }

  @Test
  void whoIsNotAskedToTellsNothingOfItsWrites() throws Exception {
    try (NbdClient client = connect(NAME)) {
      await(client.write(0, ByteBuffer.allocate(512 << 10)));
      await(client.flush());
      assertThat(client.linkTimes()).isEqualTo(LinkTimes.NONE);
    }
  }

  @Test
  void oneLostConnectionEndsThemAll() throws Exception {
    NbdConnections all = NbdConnections.connect(server.uri(NAME), trusting(ours), 3);
    await(server.remove(NAME));
    assertThat(failure(all.flush())).isEqualTo(Kind.LOST);
    for (int i = 0; i < 5; i++) {
      assertThat(failure(all.write(0, ByteBuffer.allocate(512)))).isEqualTo(Kind.LOST);
    }
    all.close();
    assertThat(all.ended()).isFalse();
  }

  /** Whoever can cut a connection cannot pass that off as the server's own word. */
  @Test
  void aCutConnectionIsNoOrderlyEnd() throws Exception {
    try (CuttingRelay relay = new CuttingRelay((InetSocketAddress) server.address())) {
      NbdUri uri = new NbdUri(relay.address(), NAME, true);
      NbdClient client = NbdClient.connect(uri, trusting(ours));
      await(client.write(0, ByteBuffer.allocate(4096)));
      relay.cut();
      assertThat(failure(client.flush())).isEqualTo(Kind.LOST);
      client.close();
      assertThat(client.ended()).isFalse();
    }
  }

  /** Passes bytes on until it is told to end. */
  private static final class CuttingRelay implements AutoCloseable {
    private final ServerSocketChannel listener =
        ServerSocketChannel.open().bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    private final List<SocketChannel> ends = new ArrayList<>();

    CuttingRelay(InetSocketAddress server) throws IOException {
      this(server, 0);
    }

    /** Passes on each piece of what the client sends after so many milliseconds only. */
    CuttingRelay(InetSocketAddress server, long millis) throws IOException {
      Thread.ofVirtual()
          .start(() -> {
            try {
              SocketChannel client = listener.accept();
              SocketChannel to = SocketChannel.open(server);
              synchronized (ends) {
                ends.addAll(List.of(client, to));
              }
              Thread.ofVirtual().start(() -> pass(client, to, millis));
              Thread.ofVirtual().start(() -> pass(to, client, 0));
            } catch (IOException e) {
              // The client sees that nobody passes its bytes on.
              throw new java.io.UncheckedIOException(e);
            }
          });
    }

    private static void pass(SocketChannel from, SocketChannel to, long millis) {
      ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
      try {
        while (from.read(buffer.clear()) >= 0) {
          buffer.flip();
          LockSupport.parkNanos(Duration.ofMillis(millis).toNanos());
          while (buffer.hasRemaining()) {
            to.write(buffer);
          }
        }
      } catch (IOException e) {
        // Cut, as it should be.
        return;
      }
    }

    InetSocketAddress address() throws IOException {
      return (InetSocketAddress) listener.getLocalAddress();
    }

    /** An orderly end of TCP, which anybody on the way can make. */
    void cut() throws IOException {
      synchronized (ends) {
        for (SocketChannel end : ends) {
          end.shutdownOutput();
        }
      }
    }

    @Override
    public void close() throws IOException {
      listener.close();
      synchronized (ends) {
        for (SocketChannel end : ends) {
          end.close();
        }
      }
    }
  }

  @Test
  void junkInPlaceOfTlsHarmsNobody() throws Exception {
    Random random = new Random(4);
    for (int round = 0; round < 20; round++) {
      try (SocketChannel socket = SocketChannel.open(server.address())) {
        NbdChannel raw = new NbdChannel(socket);
        raw.readBytes(18);
        raw.frame()
            .putInt(NbdProtocol.FIXED_NEWSTYLE)
            .putLong(NbdProtocol.OPTION_MAGIC)
            .putInt(NbdProtocol.OPT_STARTTLS)
            .putInt(0);
        raw.send();
        raw.readBytes(20);
        byte[] junk = new byte[300];
        random.nextBytes(junk);
        if (round % 2 == 0) {
          // A record of a handshake, by its header at least.
          junk[0] = 22;
          junk[1] = 3;
          junk[2] = 3;
          junk[3] = 1;
          junk[4] = 0;
        }
        raw.frame();
        raw.send(ByteBuffer.wrap(junk));
        if (round % 4 == 1) {
          continue;
        }
        socket.shutdownOutput();
        assertThatThrownBy(() -> raw.skip(1 << 20))
            .isInstanceOfAny(EOFException.class, IOException.class);
      }
    }
    connect(NAME).close();
  }

  @Test
  void thoseWhoSayNothingMakeRoomForOthers() throws Exception {
    List<SocketChannel> silent = new ArrayList<>();
    try {
      for (int i = 0; i < 20; i++) {
        silent.add(SocketChannel.open(server.address()));
      }
      NbdClient client = connect(NAME);
      await(client.flush());
      for (int i = 0; i < 20; i++) {
        silent.add(SocketChannel.open(server.address()));
      }
      await(client.flush());
      client.close();
      assertThat(client.ended()).isTrue();
    } finally {
      for (SocketChannel socket : silent) {
        socket.close();
      }
    }
  }

  @Test
  void silenceInTheMiddleOfTheHandshakeIsBounded() throws Exception {
    server.close();
    listen(
        new NbdExportServer.Limits(
            8, 16, 64L << 20, Duration.ofMillis(300), Duration.ofSeconds(20)));
    try (SocketChannel socket = SocketChannel.open(server.address())) {
      NbdChannel raw = new NbdChannel(socket);
      raw.readBytes(18);
      raw.frame()
          .putInt(NbdProtocol.FIXED_NEWSTYLE)
          .putLong(NbdProtocol.OPTION_MAGIC)
          .putInt(NbdProtocol.OPT_STARTTLS)
          .putInt(0);
      raw.send();
      raw.readBytes(20);
      assertThatThrownBy(() -> raw.readBytes(1)).isInstanceOf(IOException.class);
    }
  }

  private String toolUri(String scheme) {
    int port = ((InetSocketAddress) server.address()).getPort();
    return scheme + "://127.0.0.1:" + port + "/";
  }

  @Test
  void foreignToolsReadAndWriteByTls() throws Exception {
    ExternalTools.require("qemu-img", "nbdcopy", "nbdinfo");
    ours.writePem(dir.resolve("pki"));
    Path image = dir.resolve("image");
    byte[] noise = new byte[3 * MIB];
    new Random(1).nextBytes(noise);
    try (FileBackend file = FileBackend.create(image, 16L * MIB)) {
      await(file.write(5L * MIB + 4096, ByteBuffer.wrap(noise)));
    }
    String pki = "?tls-certificates=" + dir.resolve("pki");
    assertThat(ExternalTools.run("nbdinfo", toolUri("nbds") + NAME + pki))
        .contains("protocol: newstyle-fixed with TLS, using structured packets")
        .contains("can_multi_conn: true", "can_zero: true", "can_fua: true", "can_trim: true")
        .contains("base:allocation");

    ExternalTools.run(
        "nbdcopy", "--connections=4", "--flush", image.toString(), toolUri("nbds") + NAME + pki);
    ByteBuffer read = ByteBuffer.allocate(noise.length);
    await(disk.read(5L * MIB + 4096, read));
    assertThat(read.array()).isEqualTo(noise);

    Path back = dir.resolve("back");
    int port = ((InetSocketAddress) server.address()).getPort();
    ExternalTools.run(
        "qemu-img",
        "convert",
        "--object",
        "tls-creds-x509,id=tls,endpoint=client,sanity-check=no,dir=" + dir.resolve("pki"),
        "--image-opts",
        "driver=nbd,server.type=inet,server.host=127.0.0.1,server.port="
            + port
            + ",export="
            + NAME
            + ",tls-creds=tls",
        "-O",
        "raw",
        back.toString());
    assertThat(Files.mismatch(image, back)).isEqualTo(-1);
  }

  @Test
  void foreignToolsAreToldNoNames() throws Exception {
    ExternalTools.require("nbdinfo");
    ours.writePem(dir.resolve("pki"));
    String pki = "?tls-certificates=" + dir.resolve("pki");
    ExternalTools.Outcome list = ExternalTools.attempt("nbdinfo", "--list", toolUri("nbds") + pki);
    assertThat(list.output()).doesNotContain(NAME).doesNotContain("export-size");
    ExternalTools.Outcome plain = ExternalTools.attempt("nbdinfo", toolUri("nbd") + NAME);
    assertThat(plain.status()).isNotZero();
    assertThat(plain.output()).doesNotContain("export-size");
  }

  @Test
  void ourClientReadsAndWritesNbdkitsExportByTls() throws Exception {
    ExternalTools.require("nbdkit");
    ours.writePem(dir.resolve("pki"));
    Path image = dir.resolve("image");
    FileBackend.create(image, 16L * MIB).close();
    Path pid = dir.resolve("pid");
    int port;
    try (ServerSocketChannel free =
        ServerSocketChannel.open()
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      port = ((InetSocketAddress) free.getLocalAddress()).getPort();
    }
    Process nbdkit =
        new ProcessBuilder(
                "nbdkit",
                "-f",
                "-P",
                pid.toString(),
                "-i",
                "127.0.0.1",
                "-p",
                Integer.toString(port),
                "--tls=require",
                "--tls-certificates=" + dir.resolve("pki"),
                "file",
                image.toString())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      Awaitility.await().atMost(Duration.ofSeconds(20)).until(() -> Files.exists(pid));
      NbdUri uri = NbdUri.parse("nbds://127.0.0.1:" + port + "/anything");
      byte[] noise = new byte[2 * MIB];
      new Random(8).nextBytes(noise);
      NbdConnections client = NbdConnections.connect(uri, trusting(ours), 2);
      await(client.write(MIB, ByteBuffer.wrap(noise)));
      await(client.flush());
      ByteBuffer back = ByteBuffer.allocate(noise.length);
      await(client.read(MIB, back));
      assertThat(back.array()).isEqualTo(noise);
      client.close();
      assertThatThrownBy(() -> NbdClient.connect(uri, trusting(others)))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.ACCESS));
    } finally {
      nbdkit.destroy();
      assertThat(nbdkit.waitFor(20, TimeUnit.SECONDS)).isTrue();
    }
  }
}
