package io.xenferry.fuzz;

import static io.xenferry.fuzz.Calls.utf8;

import io.xenferry.qemu.qmp.QmpClient;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** Hypervisors that say whatever they like, one line of the input after each command. */
final class QmpSurface implements Surface {
  private static final Duration DEADLINE = Duration.ofMillis(500);

  private final Path directory = Files.createTempDirectory("xenferry-fuzz");
  private final Path path = directory.resolve("qmp");
  private final ServerSocketChannel listener =
      ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(path));
  private volatile byte[] script = {};

  QmpSurface() throws IOException {
    Thread.ofPlatform().daemon().name("qmp").start(this::accept);
  }

  @Override
  public List<byte[]> seeds() {
    String greeting =
        "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7}},"
            + "\"capabilities\":[\"oob\"]}}\n";
    String taken = "{\"return\":{},\"id\":1}\n";
    return List.of(
        utf8(greeting + taken + "{\"return\":{\"status\":\"running\"},\"id\":2}\n"),
        utf8(
            greeting
                + taken
                + "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":2}\n"),
        utf8(
            greeting
                + taken
                + "{\"timestamp\":{\"seconds\":1,\"microseconds\":2},\"event\":\"STOP\"}\n"));
  }

  private void accept() {
    try {
      while (true) {
        SocketChannel client = listener.accept();
        byte[] words = script;
        Thread.ofVirtual().start(() -> serve(client, words));
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private static void serve(SocketChannel client, byte[] words) {
    ByteBuffer heard = ByteBuffer.allocate(4096);
    try (client) {
      int at = 0;
      while (at < words.length) {
        int end = at;
        while (end < words.length && words[end] != '\n') {
          end++;
        }
        end = Math.min(words.length, end + 1);
        client.write(ByteBuffer.wrap(words, at, end - at));
        at = end;
        if (at < words.length && client.read(heard.clear()) < 0) {
          return;
        }
      }
    } catch (IOException e) {
      // The client has gone.
    }
  }

  @Override
  public void take(byte[] input) throws Exception {
    script = input;
    try (QmpClient client = QmpClient.connect(path, DEADLINE, event -> {}, () -> {})) {
      client.execute("query-status", Map.of("a", 1), DEADLINE);
      client.execute("stop", DEADLINE);
    } catch (HypervisorException refused) {
      // A failure that says what it is.
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
    Files.deleteIfExists(path);
    Files.deleteIfExists(directory);
  }
}
