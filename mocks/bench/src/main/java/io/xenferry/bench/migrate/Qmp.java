package io.xenferry.bench.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.bench.command.Commands;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/**
 * One connection to a monitor of QEMU, for one thread: commands one after the other, and events.
 */
final class Qmp implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final SocketChannel channel;
  private final BlockingQueue<JsonNode> replies = new LinkedBlockingQueue<>();
  private final BlockingQueue<JsonNode> events = new LinkedBlockingQueue<>();

  private Qmp(SocketChannel channel) {
    this.channel = channel;
    Thread.ofPlatform().daemon().name("qmp").start(this::read);
  }

  static Qmp connect(Path socket, Process qemu) throws IOException, InterruptedException {
    long end = System.nanoTime() + Commands.DEADLINE.toNanos();
    while (true) {
      try {
        Qmp qmp = new Qmp(SocketChannel.open(UnixDomainSocketAddress.of(socket)));
        qmp.execute("qmp_capabilities", Map.of());
        return qmp;
      } catch (IOException e) {
        if (!qemu.isAlive() || System.nanoTime() > end) {
          throw new IOException("no monitor at " + socket + ": " + e.getMessage(), e);
        }
        Thread.sleep(10);
      }
    }
  }

  private void read() {
    try (BufferedReader lines =
        new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode message = JSON.readTree(line);
        if (message.has("event")) {
          events.add(message);
        } else if (!message.has("QMP")) {
          replies.add(message);
        }
      }
    } catch (IOException e) {
      // The machine ended, or this was closed: whoever waits runs into its deadline.
      return;
    }
  }

  JsonNode execute(String command, Map<String, ?> arguments)
      throws IOException, InterruptedException {
    Map<String, Object> message = new LinkedHashMap<>();
    message.put("execute", command);
    message.put("arguments", arguments);
    channel.write(
        ByteBuffer.wrap(
            (JSON.writeValueAsString(message) + "\n").getBytes(StandardCharsets.UTF_8)));
    JsonNode reply = replies.poll(Commands.DEADLINE.toSeconds(), TimeUnit.SECONDS);
    if (reply == null) {
      throw new IOException("no answer to " + command);
    }
    if (!reply.has("return")) {
      throw new IOException(command + ": " + reply.path("error").path("desc").asText());
    }
    return reply.path("return");
  }

  /** Waits for an event; what came before it is dropped. */
  JsonNode await(Predicate<JsonNode> wanted, String what, Duration limit)
      throws IOException, InterruptedException {
    long end = System.nanoTime() + limit.toNanos();
    while (true) {
      JsonNode event = events.poll(Math.max(0, end - System.nanoTime()), TimeUnit.NANOSECONDS);
      if (event == null) {
        throw new Commands.Overdue("no " + what + " within " + limit.toSeconds() + " s");
      }
      if (wanted.test(event)) {
        return event;
      }
      if (event.path("event").asText().equals("BLOCK_JOB_ERROR")
          || event.path("data").path("status").asText().equals("failed")) {
        throw new IOException("while waiting for " + what + ": " + event);
      }
    }
  }

  static Predicate<JsonNode> named(String event) {
    return message -> message.path("event").asText().equals(event);
  }

  static Predicate<JsonNode> migration(String status) {
    return message ->
        message.path("event").asText().equals("MIGRATION")
            && message.path("data").path("status").asText().equals(status);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
