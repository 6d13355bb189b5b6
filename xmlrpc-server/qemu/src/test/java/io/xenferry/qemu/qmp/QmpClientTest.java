package io.xenferry.qemu.qmp;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class QmpClientTest {
  private static final String GREETING = "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n";
  private static final String READY = "{\"return\":{},\"id\":1}\n";
  private static final Duration SOON = Duration.ofSeconds(5);

  private Path directory;
  private Path socket;
  private ServerSocketChannel listener;
  private final List<QmpEvent> events = new CopyOnWriteArrayList<>();
  private final CountDownLatch closed = new CountDownLatch(1);

  /** What the peer does with a client. */
  interface Peer {
    void talk(BufferedReader in, OutputStream out) throws Exception;
  }

  @BeforeEach
  void open() throws IOException {
    directory = Files.createTempDirectory("qmp");
    socket = directory.resolve("s");
    listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    listener.bind(UnixDomainSocketAddress.of(socket));
  }

  @AfterEach
  void close() throws IOException {
    listener.close();
    Files.deleteIfExists(socket);
    Files.delete(directory);
  }

  private void peer(Peer peer) {
    Thread.ofVirtual()
        .start(() -> {
          try (SocketChannel channel = listener.accept()) {
            peer.talk(
                new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8)),
                Channels.newOutputStream(channel));
          } catch (Exception e) {
            // The client hung up, as some of these tests want it to.
          }
        });
  }

  private static void say(OutputStream out, String text) throws IOException {
    out.write(text.getBytes(StandardCharsets.UTF_8));
    out.flush();
  }

  private QmpClient connect(Duration deadline) throws Exception {
    return QmpClient.connect(socket, deadline, events::add, closed::countDown);
  }

  @Test
  void matchesRepliesToCommandsAndTellsEvents() throws Exception {
    peer((in, out) -> {
      say(out, GREETING);
      assertThat(in.readLine()).contains("qmp_capabilities");
      say(out, READY);
      String first = in.readLine();
      String second = in.readLine();
      assertThat(first + second).contains("\"a\"").contains("\"b\"");
      // Ids are given before the lines are written, so the lines may come in the other order.
      String a = id(first.contains("\"a\"") ? first : second);
      String b = id(first.contains("\"a\"") ? second : first);
      say(out, "{\"event\":\"STOP\",\"timestamp\":{}}\r\n");
      say(out, "{\"return\":\"of b\",\"id\":" + b + "}\n");
      say(out, "{\"return\":\"of a\",\"id\":" + a + "}\n");
      in.readLine();
      say(out, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such thing\"},\"id\":4}\n");
      in.readLine();
    });
    try (QmpClient client = connect(SOON)) {
      List<String> answers = new CopyOnWriteArrayList<>();
      Thread one =
          Thread.ofVirtual()
              .start(() -> {
                try {
                  answers.add(client.execute("a", SOON).asText());
                } catch (Exception e) {
                  answers.add(e.toString());
                }
              });
      assertThat(client.execute("b", SOON).asText()).isEqualTo("of b");
      one.join();
      assertThat(answers).containsExactly("of a");
      await().until(() -> events.stream().anyMatch(event -> event.name().equals("STOP")));
      assertThatThrownBy(() -> client.execute("c", Map.of("x", List.of(1, true)), SOON))
          .isInstanceOfSatisfying(
              HypervisorException.class, e -> assertThat(e.kind()).isEqualTo(Kind.REFUSED))
          .hasMessageContaining("no such thing");
    }
    assertThat(closed.await(5, TimeUnit.SECONDS)).isTrue();
  }

  private static String id(String line) {
    return line.replaceAll(".*\"id\":(\\d+).*", "$1");
  }

  @Test
  void doesNotWaitForAPeerThatIsSilent() {
    peer((in, out) -> in.readLine());
    assertThatThrownBy(() -> connect(Duration.ofMillis(100)))
        .isInstanceOfSatisfying(
            HypervisorException.class, e -> assertThat(e.kind()).isEqualTo(Kind.TIMEOUT));
  }

  @Test
  void forgetsAnAnswerThatComesTooLate() throws Exception {
    CountDownLatch late = new CountDownLatch(1);
    peer((in, out) -> {
      say(out, GREETING);
      in.readLine();
      say(out, READY);
      in.readLine();
      late.await();
      say(out, "{\"return\":\"late\",\"id\":2}\n");
      in.readLine();
      say(out, "{\"return\":\"in time\",\"id\":3}\n");
      in.readLine();
    });
    try (QmpClient client = connect(SOON)) {
      assertThatThrownBy(() -> client.execute("slow", Duration.ofMillis(50)))
          .isInstanceOfSatisfying(
              HypervisorException.class, e -> assertThat(e.kind()).isEqualTo(Kind.TIMEOUT));
      late.countDown();
      assertThat(client.execute("next", SOON).asText()).isEqualTo("in time");
    }
  }

  @Test
  void endsWhenThePeerGoes() throws Exception {
    peer((in, out) -> {
      say(out, GREETING);
      in.readLine();
      say(out, READY);
      in.readLine();
    });
    try (QmpClient client = connect(SOON)) {
      assertThatThrownBy(() -> client.execute("x", SOON))
          .isInstanceOfSatisfying(
              HypervisorException.class, e -> assertThat(e.kind()).isEqualTo(Kind.GONE));
      assertThat(closed.await(5, TimeUnit.SECONDS)).isTrue();
      assertThat(client.isOpen()).isFalse();
    }
  }

  @Test
  void endsTheConnectionOfAPeerThatDoesNotSpeakQmp() throws Exception {
    String flood = "{\"event\":\"E\"}\n".repeat(QmpClient.EVENT_LIMIT + 2000);
    for (String junk :
        List.of(
            "\u0000\u0001\u0002\n",
            "[]\n",
            "{\"a\":1}\n",
            "{\"return\":{},\"id\":99}\n",
            "{\"return\":{}}\n",
            "{\"error\":{\"desc\":\"JSON parse error\"}}\n",
            "[".repeat(100_000) + "\n",
            "x".repeat(QmpClient.LINE_LIMIT + 1),
            flood)) {
      peer((in, out) -> {
        say(out, GREETING);
        in.readLine();
        say(out, READY);
        in.readLine();
        say(out, junk);
        in.readLine();
      });
      CountDownLatch blocked = new CountDownLatch(1);
      try (QmpClient client =
          QmpClient.connect(socket, SOON, event -> awaitQuietly(blocked), () -> {})) {
        assertThatThrownBy(() -> client.execute("x", SOON))
            .as("after %s", junk.substring(0, Math.min(30, junk.length())))
            .isInstanceOfSatisfying(
                HypervisorException.class, e -> assertThat(e.kind()).isEqualTo(Kind.PROTOCOL));
      } finally {
        blocked.countDown();
      }
    }
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
