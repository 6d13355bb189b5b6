package io.xenferry.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockOp;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.FaultBackend;
import io.xenferry.block.FaultBackend.Fault;
import io.xenferry.block.FaultBackend.Plan;
import io.xenferry.block.MemoryBackend;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class NbdClientTest {
  private static final NbdClient.Options PATIENT = NbdClient.Options.DEFAULT;

  /** Only for what gets no answer: nothing depends on an answer's being fast enough. */
  private static final NbdClient.Options HASTY = PATIENT.withRequestTimeout(Duration.ofMillis(300));

  private static InetSocketAddress anyPort() {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
  }

  private static Kind failure(CompletableFuture<?> future) throws Exception {
    try {
      future.get(20, TimeUnit.SECONDS);
    } catch (Exception e) {
      return BlockRequests.unwrap(e).kind();
    }
    throw new AssertionError("succeeded");
  }

  @Test
  void aServerThatDoesNotAnswerKillsTheClientInTime() throws Exception {
    FaultBackend disk = new FaultBackend(new MemoryBackend("disk", 1 << 20));
    try (NbdExportServer server = NbdExportServer.listen(anyPort())) {
      server.add("", disk);
      NbdClient client = NbdClient.connect(server.uri(""), HASTY);
      disk.follow(Plan.every(BlockOp.WRITE, new Fault.Hang()));
      assertThat(failure(client.write(0, ByteBuffer.allocate(512)))).isEqualTo(Kind.TIMEOUT);
      assertThat(failure(client.read(0, ByteBuffer.allocate(512)))).isEqualTo(Kind.TIMEOUT);
      assertThat(failure(client.flush())).isEqualTo(Kind.TIMEOUT);
      client.close();
      disk.close();
    }
  }

  @Test
  void aServerThatGoesAwayIsLost() throws Exception {
    NbdExportServer server = NbdExportServer.listen(anyPort());
    server.add("", new MemoryBackend("disk", 1 << 20));
    NbdClient client = NbdClient.connect(server.uri(""), PATIENT);
    server.close();
    assertThat(failure(client.read(0, ByteBuffer.allocate(512)))).isEqualTo(Kind.LOST);
    client.close();
    assertThatThrownBy(() -> NbdClient.connect(server.uri(""), PATIENT))
        .isInstanceOfSatisfying(
            BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.LOST));
  }

  @Test
  void aSilentServerTimesOut() throws Exception {
    try (ServerSocketChannel silent = ServerSocketChannel.open().bind(anyPort())) {
      NbdUri uri = new NbdUri(silent.getLocalAddress(), "");
      assertThatThrownBy(
              () -> NbdClient.connect(uri, HASTY.withConnectTimeout(Duration.ofMillis(300))))
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.TIMEOUT));
    }
  }

  /** A server that negotiates well and then answers any request with junk. */
  @Test
  void junkFromTheServerEndsTheClientCleanly() throws Exception {
    Random random = new Random(99);
    try (ServerSocketChannel listener = ServerSocketChannel.open().bind(anyPort())) {
      NbdUri uri = new NbdUri(listener.getLocalAddress(), "");
      for (int round = 0; round < 40; round++) {
        byte[] junk = junk(random, round);
        Thread server = Thread.ofVirtual().start(() -> serveJunk(listener, junk));
        NbdClient client = NbdClient.connect(uri, HASTY);
        assertThat(failure(client.read(0, ByteBuffer.allocate(512))))
            .as("round %d", round)
            .isIn(Kind.PROTOCOL, Kind.LOST, Kind.TIMEOUT, Kind.IO, Kind.OUT_OF_RANGE);
        client.close();
        server.join();
      }
    }
  }

  private static byte[] junk(Random random, int round) {
    ByteBuffer reply = ByteBuffer.allocate(64);
    switch (round % 5) {
      case 0 -> reply.putLong(random.nextLong());
      case 1 -> reply.putInt(NbdProtocol.SIMPLE_REPLY_MAGIC).putInt(0).putLong(1);
      case 2 -> reply.putInt(NbdProtocol.SIMPLE_REPLY_MAGIC).putInt(5).putLong(random.nextLong());
      default -> {
        reply.putInt(NbdProtocol.STRUCTURED_REPLY_MAGIC).putShort((short) (round & 1));
        int[] types = {0, 1, 2, 5, 77, 1 << 15 | 1, 1 << 15 | 2};
        reply.putShort((short) types[random.nextInt(types.length)]).putLong(1);
        reply.putInt(random.nextBoolean() ? random.nextInt(600) : random.nextInt());
        reply.putLong(random.nextLong());
      }
    }
    return java.util.Arrays.copyOf(reply.array(), reply.position());
  }

  private static void serveJunk(ServerSocketChannel listener, byte[] junk) {
    try (SocketChannel peer = listener.accept();
        NbdExportServer names = NbdExportServer.listen(anyPort())) {
      names.add("", new MemoryBackend("disk", 1 << 20));
      NbdChannel channel = new NbdChannel(peer);
      new ServerHandshake(names, channel, () -> {}).run();
      channel.readBytes(NbdProtocol.REQUEST_BYTES);
      peer.write(ByteBuffer.wrap(junk));
    } catch (Exception e) {
      // The client has had enough; what it says of it is what the test looks at.
      return;
    }
  }

  @Test
  void urisAreReadAndWritten() {
    for (String text :
        new String[] {
          "nbd://host.example:10811/an%20export",
          "nbd+unix:///e?socket=/run/a%20b/c",
          "nbd+unix:///?socket=/s"
        }) {
      assertThat(NbdUri.parse(text).toString()).isEqualTo(text);
    }
    assertThat(NbdUri.parse("nbd://h").toString()).isEqualTo("nbd://h:10809/");
    assertThatThrownBy(() -> NbdUri.parse("http://h/"))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> NbdUri.parse("nbd+unix:///e"))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
