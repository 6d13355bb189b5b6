package io.xenferry.bench.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Where the time of a move goes: follows what the source's server tells of it (docs/rest.md) and
 * notes when each phase was first heard of. Thread-safe.
 */
final class Phases implements AutoCloseable {

  private record Phase(long heard, String name) {}

  private final SocketChannel channel;
  private final String vm;
  private final List<Phase> phases = new ArrayList<>();

  /**
   * @param socket the server's Unix socket
   */
  Phases(Path socket, String vm) throws IOException {
    this.vm = vm;
    phases.add(new Phase(System.nanoTime(), "before the first phase"));
    channel = SocketChannel.open(UnixDomainSocketAddress.of(socket));
    channel.write(
        ByteBuffer.wrap(
            "GET /v1/migrations/events HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                .getBytes(StandardCharsets.US_ASCII)));
    Thread.ofPlatform().daemon().name("phases").start(this::follow);
  }

  private void follow() {
    ObjectMapper json = new ObjectMapper();
    try (BufferedReader lines =
        new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith("data:")) {
          note(json.readTree(line.substring("data:".length())));
        }
      }
    } catch (IOException e) {
      // Closed.
      return;
    }
  }

  private synchronized void note(JsonNode status) {
    if (!status.path("vm").asText().equals(vm)) {
      return;
    }
    String name = status.path("state").asText() + ": " + status.path("phase").asText();
    if (!phases.getLast().name().equals(name)) {
      phases.add(new Phase(System.nanoTime(), name));
    }
  }

  /** Each phase with the seconds until the next. */
  synchronized String text() {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < phases.size(); i++) {
      long end = i + 1 < phases.size() ? phases.get(i + 1).heard() : System.nanoTime();
      text.append(
          String.format(
              Locale.ROOT,
              "%n    %6.3f s  %s",
              (end - phases.get(i).heard()) / 1e9,
              phases.get(i).name()));
    }
    return text.toString();
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
