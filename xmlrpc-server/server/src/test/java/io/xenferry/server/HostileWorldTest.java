package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.server.config.LimitsConfig;
import io.xenferry.server.config.ServerConfig;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/**
 * Junk and slow clients on every port and Unix socket there is while a VM moves, which must not
 * notice.
 */
@EnabledOnOs(OS.LINUX)
class HostileWorldTest {
  private static final long SEED = 20_240_907;

  /** Who come to each Unix socket at once and say nothing; with the others fewer than may come. */
  private static final int CROWD = 150;

  private static final String[] STARTS = {
    "",
    "G",
    "POST /cli HTTP/1.0\r\ncontent-length: 200\r\n\r\nvm-list",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n<methodCall>",
    "PUT /v1/incoming/00000000-0000-4000-8000-000000000000 HTTP/1.1\r\nHost: x\r\nContent-Length:"
        + " 9\r\n\r\n{",
    "POST /services/SM HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n<",
    "\u0016\u0003\u0001\u0002", // the start of a TLS handshake
    "\u0043\u0081\u0000\u0000", // the start of an iSCSI login
  };

  @Test
  void aMoveNoticesNothing() throws Exception {
    try (TwoHosts hosts = TwoHosts.startAlike(HostileWorldTest::impatient)) {
      Traveller t = hosts.traveller("mover", 1);
      t.start();
      String task = hosts.begin(t, 4 << 20);

      List<InetSocketAddress> ports = listening();
      // TLS and plain HTTP of two servers, and the destination's iSCSI target.
      assertThat(ports).hasSizeGreaterThanOrEqualTo(5);
      assertThat(ports).extracting(InetSocketAddress::getPort).contains(hosts.there.server.port());
      List<SocketAddress> doors = new ArrayList<>(ports);
      for (TestServer server : List.of(hosts.here, hosts.there)) {
        doors.add(UnixDomainSocketAddress.of(server.directory.resolve("socket")));
      }
      List<Visitor> slow = new ArrayList<>();
      try {
        for (SocketAddress door : doors) {
          for (String start : STARTS) {
            slow.add(Visitor.at(door).says(start.getBytes(StandardCharsets.ISO_8859_1)));
          }
        }
        for (SocketAddress door : doors) {
          if (door instanceof UnixDomainSocketAddress) {
            for (int i = 0; i < CROWD; i++) {
              slow.add(Visitor.at(door));
            }
          }
        }
        Random random = new Random(SEED);
        for (SocketAddress port : doors) {
          for (int i = 0; i < 24; i++) {
            throwJunk(port, random, i);
          }
        }
        hosts.awaitSuccess(task);
        for (Visitor v : slow) {
          assertThat(v.isSentAway(TwoHosts.LONG)).as("%s", v).isTrue();
        }
        assertThat(login(hosts.here)).contains("200 OK", "Success");
      } finally {
        for (Visitor v : slow) {
          v.close();
        }
      }

      t.awaitWrites();
      t.endThere(hosts.destination.text("VM.get_by_uuid", t.uuid()));
    }
  }

  private static ServerConfig impatient(ServerConfig config) {
    Duration soon = Duration.ofSeconds(5);
    return config.with(new LimitsConfig(300 * 1024, 200 * 1024, 500, 500, soon, soon, soon));
  }

  /** Every TCP port that this process listens on, as the kernel tells it. */
  private static List<InetSocketAddress> listening() throws IOException {
    Set<String> ours = new HashSet<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
      for (Path fd : files) {
        String target;
        try {
          target = Files.readSymbolicLink(fd).toString();
        } catch (IOException gone) {
          continue; // closed since the directory was read
        }
        if (target.startsWith("socket:[")) {
          ours.add(target.substring("socket:[".length(), target.length() - 1));
        }
      }
    }
    List<InetSocketAddress> ports = new ArrayList<>();
    for (String table : List.of("/proc/self/net/tcp", "/proc/self/net/tcp6")) {
      for (String line : Files.readAllLines(Path.of(table))) {
        String[] words = line.strip().split(" +");
        if (words.length > 9 && words[3].equals("0A") && ours.contains(words[9])) {
          String[] local = words[1].split(":");
          ports.add(new InetSocketAddress(address(local[0]), Integer.parseInt(local[1], 16)));
        }
      }
    }
    return ports;
  }

  /** The kernel prints words of four bytes in the machine's order, which is little-endian here. */
  private static InetAddress address(String hex) throws IOException {
    byte[] raw = HexFormat.of().parseHex(hex);
    for (int word = 0; word < raw.length; word += 4) {
      for (int i = 0; i < 2; i++) {
        byte b = raw[word + i];
        raw[word + i] = raw[word + 3 - i];
        raw[word + 3 - i] = b;
      }
    }
    InetAddress address = InetAddress.getByAddress(raw);
    return address.isAnyLocalAddress() ? InetAddress.getLoopbackAddress() : address;
  }

  /** Whom the server of this machine's own users lets in all the same. */
  private static String login(TestServer server) throws Exception {
    String body = WireRulesTest.call("session.login_with_password", "", "");
    try (Visitor v =
        Visitor.at(UnixDomainSocketAddress.of(server.directory.resolve("socket")))
            .says(
                ("POST / HTTP/1.0\r\nContent-Length: " + body.length() + "\r\n\r\n" + body)
                    .getBytes(StandardCharsets.US_ASCII))) {
      return new String(
          Channels.newInputStream(v.channel()).readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static void throwJunk(SocketAddress port, Random random, int kind) throws Exception {
    byte[] junk = new byte[random.nextInt(4000) + 1];
    random.nextBytes(junk);
    switch (kind % 6) {
      case 0 -> {}
      case 1 -> System.arraycopy(STARTS[7].getBytes(StandardCharsets.ISO_8859_1), 0, junk, 0, 1);
      case 2 -> junk = ("GET /" + "a".repeat(20_000) + " HTTP/1.1\r\n\r\n").getBytes();
      case 3 -> junk = "POST /cli HTTP/1.0\r\ncontent-length: 99999999\r\n\r\nx".getBytes();
      case 4 ->
          junk = ("PUT /v1/incoming/../../x HTTP/1.1\r\n" + "A: b\r\n".repeat(3000)).getBytes();
      case 5 ->
          junk =
              ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n"
                      + "<a>".repeat(100_000))
                  .getBytes();
      default -> throw new IllegalStateException();
    }
    try (Visitor v = Visitor.at(port)) {
      try {
        v.says(junk);
        v.channel().shutdownOutput();
      } catch (IOException reset) {
        return; // as good an answer to junk as any
      }
      assertThat(v.isSentAway(Duration.ofSeconds(20)))
          .as("seed %s: %s keeps a client that is done", SEED, port)
          .isTrue();
    }
  }

  /** Somebody on a connection, of either kind. */
  private record Visitor(SocketAddress door, SocketChannel channel) implements AutoCloseable {
    static Visitor at(SocketAddress door) throws IOException {
      return new Visitor(door, SocketChannel.open(door));
    }

    Visitor says(byte[] bytes) throws IOException {
      ByteBuffer left = ByteBuffer.wrap(bytes);
      while (left.hasRemaining()) {
        channel.write(left);
      }
      return this;
    }

    /** Whether the server ends the connection, whatever it says before. */
    boolean isSentAway(Duration patience) throws Exception {
      CompletableFuture<Boolean> ended = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            try {
              ByteBuffer any = ByteBuffer.allocate(64 * 1024);
              while (channel.read(any.clear()) >= 0) {}
              ended.complete(true);
            } catch (AsynchronousCloseException stillThere) {
              ended.complete(false);
            } catch (IOException reset) {
              ended.complete(true);
            }
          });
      try {
        return ended.get(patience.toMillis(), TimeUnit.MILLISECONDS);
      } catch (TimeoutException e) {
        return false;
      }
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }
}
