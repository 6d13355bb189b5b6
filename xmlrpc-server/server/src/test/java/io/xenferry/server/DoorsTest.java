package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.server.config.LimitsConfig;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.net.http.HttpClient;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Who may stay at the doors, and for how long. */
class DoorsTest {
  private static final Duration HOUR = Duration.ofHours(1);

  private static TestServer server(int connections, int perAddress, Duration head)
      throws Exception {
    return TestServer.start(
        Files.createTempDirectory("xenferry"),
        MemoryDatabase.create(),
        new LimitsConfig(
            300 * 1024, 200 * 1024, connections, perAddress, Duration.ofSeconds(20), head, HOUR));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "GET / HTTP/1.1\r\n",
        // recognised as nothing yet
        "POST /c",
        // the second request of a connection
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n",
      })
  void headersThatDripInEnd(String start) throws Exception {
    try (TestServer server = server(50, 50, Duration.ofSeconds(1))) {
      drip(server.httpPort(), start.getBytes(StandardCharsets.US_ASCII));
    }
  }

  /** In order: a stream that breaks off would be an exception. */
  @Test
  void aStreamOfEventsEndsWhenTheServerStops() throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      TestServer server = server(50, 50, Duration.ofSeconds(30));
      InputStream events;
      try (server) {
        events = Rest.follow(client, server, "/v1/migrations/events");
      }
      assertThat(events.readAllBytes()).isEmpty();
    }
  }

  @Test
  void aHandshakeThatDripsInEnds() throws Exception {
    try (TestServer server = server(50, 50, Duration.ofSeconds(1))) {
      // a record of 16 KiB with a ClientHello
      drip(server.server.port(), new byte[] {0x16, 3, 1, 0x3f, 0, 1, 0, 0x3e, (byte) 0xfc});
    }
  }

  /** A byte now and then, sooner than the idle timeout, until the server ends it. */
  private static void drip(int port, byte[] start) throws Exception {
    ScheduledExecutorService tap = Executors.newSingleThreadScheduledExecutor();
    try (Socket s = new Socket("127.0.0.1", port)) {
      s.setSoTimeout(60_000);
      s.getOutputStream().write(start);
      tap.scheduleAtFixedRate(
          () -> {
            try {
              s.getOutputStream().write('a');
            } catch (IOException ended) {
              throw new IllegalStateException(ended); // which stops the tap
            }
          },
          200,
          200,
          TimeUnit.MILLISECONDS);
      ends(s.getInputStream());
    } finally {
      tap.shutdownNow();
    }
  }

  private static void ends(InputStream in) {
    try {
      in.readAllBytes();
    } catch (java.net.SocketTimeoutException e) {
      throw new AssertionError("the server keeps the connection", e);
    } catch (IOException reset) {
      // an end, too
    }
  }

  @Test
  void requestsUnderWayAndRestsBetweenThemAreNoDripping() throws Exception {
    try (TestServer server = server(50, 50, Duration.ofSeconds(1));
        Socket s = new Socket("127.0.0.1", server.httpPort())) {
      s.setSoTimeout(60_000);
      String session = server.login();
      // Two waits that each last longer than a head may take.
      for (int i = 0; i < 2; i++) {
        String wait =
            WireRulesTest.call("event.from", session, "@classes@", "", "@timeout@")
                .replace(
                    "<string>@classes@</string>",
                    "<array><data><value>session</value></data></array>")
                .replace("<string>@timeout@</string>", "<double>2.5</double>");
        s.getOutputStream()
            .write(
                ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + wait.length() + "\r\n\r\n")
                    .getBytes(StandardCharsets.US_ASCII));
        s.getOutputStream().write(wait.getBytes(StandardCharsets.US_ASCII));
        assertThat(answer(s.getInputStream())).startsWith("HTTP/1.1 200");
      }
    }
  }

  /** Head and body of an answer with a length. */
  private static String answer(InputStream in) throws IOException {
    StringBuilder head = new StringBuilder();
    while (head.indexOf("\r\n\r\n") < 0) {
      int c = in.read();
      assertThat(c).as("after %s", head).isNotNegative();
      head.append((char) c);
    }
    String length = head.toString().split("(?i)Content-Length: ")[1].split("\r\n")[0];
    return head + new String(in.readNBytes(Integer.parseInt(length)), StandardCharsets.UTF_8);
  }

  @Test
  void anAddressHasAShareAndLeavesTheOthersTheirs() throws Exception {
    try (TestServer server = server(20, 3, HOUR)) {
      List<Socket> crowd = new ArrayList<>();
      InetSocketAddress door = new InetSocketAddress("127.0.0.1", server.httpPort());
      try {
        for (int i = 0; i < 3; i++) {
          crowd.add(from("127.0.0.9", door));
          served(crowd.getLast());
        }
        for (int i = 0; i < 30; i++) {
          Socket oneMore = from("127.0.0.9", door);
          crowd.add(oneMore);
          ends(oneMore.getInputStream());
        }
        try (Socket other = from("127.0.0.10", door)) {
          served(other);
        }
        crowd.getFirst().close();
        org.awaitility.Awaitility.await()
            .atMost(Duration.ofSeconds(30))
            .ignoreExceptions()
            .untilAsserted(() -> {
              try (Socket again = from("127.0.0.9", door)) {
                served(again);
              }
            });
      } finally {
        for (Socket s : crowd) {
          s.close();
        }
      }
    }
  }

  @Test
  void aFullHouseLeavesTheUnixSocketOpen() throws Exception {
    try (TestServer server = server(6, 3, HOUR)) {
      List<Socket> crowd = new ArrayList<>();
      InetSocketAddress door = new InetSocketAddress("127.0.0.1", server.httpPort());
      try {
        for (int i = 0; i < 6; i++) {
          crowd.add(from("127.0.0." + (20 + i), door));
          served(crowd.getLast());
        }
        try (SocketChannel local = SocketChannel.open(StandardProtocolFamily.UNIX)) {
          local.connect(UnixDomainSocketAddress.of(server.directory.resolve("socket")));
          local.write(
              ByteBuffer.wrap("GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII)));
          assertThat(
                  new String(
                      java.nio.channels.Channels.newInputStream(local).readAllBytes(),
                      StandardCharsets.US_ASCII))
              .startsWith("HTTP/1.1 200");
        }
      } finally {
        for (Socket s : crowd) {
          s.close();
        }
      }
    }
  }

  private static Socket from(String address, InetSocketAddress to) throws IOException {
    Socket s = new Socket();
    s.setSoTimeout(60_000);
    s.bind(new InetSocketAddress(InetAddress.getByName(address), 0));
    s.connect(to);
    return s;
  }

  private static void served(Socket s) throws IOException {
    s.getOutputStream()
        .write("GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
    assertThat(answer(s.getInputStream())).startsWith("HTTP/1.1 200");
  }

  /** Not after the rest of it has come, which may be never. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n<",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
      })
  void aBodyThatIsTooLargeIsRefusedAtOnce(String start) throws Exception {
    try (TestServer server = server(50, 50, HOUR);
        Socket s = new Socket("127.0.0.1", server.httpPort())) {
      s.setSoTimeout(10_000); // sooner than the idle timeout
      s.getOutputStream().write(start.getBytes(StandardCharsets.US_ASCII));
      if (start.contains("chunked")) {
        s.getOutputStream().write("50000\r\n".getBytes(StandardCharsets.US_ASCII));
        s.getOutputStream().write(new byte[0x50000]);
      }
      assertThat(answer(s.getInputStream()))
          .startsWith("HTTP/1.1 413 ")
          .contains("Connection: close");
    }
  }
}
