package io.xenferry.guest;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A monitor: one client at a time, as QEMU's; events while one is connected. */
final class QmpServer {
  private static final Logger LOG = LoggerFactory.getLogger(QmpServer.class);
  private static final int LINE_LIMIT = 1 << 20;
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Runs a command and answers what stands under {@code return}. */
  interface Commands {
    JsonNode run(String command, JsonNode arguments) throws QmpError;

    JsonNode runOutOfBand(String command, JsonNode arguments) throws QmpError;
  }

  private final ServerSocketChannel listener;
  private final Commands commands;
  private volatile @Nullable Client client;

  QmpServer(Path socket, Commands commands) throws IOException {
    this.commands = commands;
    Files.deleteIfExists(socket);
    listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    listener.bind(UnixDomainSocketAddress.of(socket));
  }

  static ObjectNode object() {
    return JSON.createObjectNode();
  }

  void start() {
    Thread.ofPlatform().name("qmp").start(this::acceptLoop);
  }

  /** Sends an event, if anybody listens. */
  void event(String name, @Nullable ObjectNode payload) {
    Client current = client;
    if (current != null && current.negotiated) {
      ObjectNode event = object();
      Instant now = Instant.now();
      event
          .putObject("timestamp")
          .put("seconds", now.getEpochSecond())
          .put("microseconds", now.getNano() / 1000);
      event.put("event", name);
      if (payload != null) {
        event.set("data", payload);
      }
      current.send(event);
    }
  }

  private void acceptLoop() {
    while (true) {
      try (SocketChannel channel = listener.accept()) {
        Client next = new Client(channel);
        client = next;
        next.serve();
      } catch (IOException | RuntimeException e) {
        System.err.println("qmp: " + e);
      } finally {
        client = null;
      }
    }
  }

  private final class Client {
    private final SocketChannel channel;
    private final BlockingQueue<ObjectNode> outgoing = new ArrayBlockingQueue<>(1024);
    private final Thread writer;
    private volatile boolean negotiated;

    Client(SocketChannel channel) {
      this.channel = channel;
      this.writer = Thread.ofVirtual().start(this::writeLoop);
    }

    void send(ObjectNode message) {
      if (!outgoing.offer(message)) {
        // It does not read. QEMU would buffer without end.
        writer.interrupt();
      }
    }

    private void writeLoop() {
      try (channel) {
        while (true) {
          ByteBuffer line =
              ByteBuffer.wrap((outgoing.take() + "\r\n").getBytes(StandardCharsets.UTF_8));
          while (line.hasRemaining()) {
            channel.write(line);
          }
        }
      } catch (IOException | InterruptedException e) {
        // The client is gone; the reader sees it too.
      }
    }

    void serve() throws IOException {
      ObjectNode greeting = object();
      ObjectNode qmp = greeting.putObject("QMP");
      qmp.putObject("version")
          .put("package", "xenferry simulated guest")
          .putObject("qemu")
          .put("major", 7)
          .put("minor", 2)
          .put("micro", 0);
      qmp.putArray("capabilities").add("oob");
      send(greeting);
      try {
        InputStream in = new BufferedInputStream(Channels.newInputStream(channel));
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int b = in.read(); b >= 0; b = in.read()) {
          if (b != '\n') {
            line.write(b);
            if (line.size() > LINE_LIMIT) {
              throw new IOException("a line of more than " + LINE_LIMIT + " bytes");
            }
          } else if (line.size() > 0) {
            command(line.toByteArray());
            line.reset();
          }
        }
      } finally {
        writer.interrupt();
      }
    }

    private void command(byte[] line) {
      ObjectNode reply = object();
      try {
        JsonNode message = JSON.readTree(line);
        if (message == null || !message.isObject()) {
          throw new QmpError("QMP input must be a JSON object");
        }
        if (message.has("id")) {
          reply.set("id", message.get("id"));
        }
        String name = message.path("execute").asText();
        JsonNode result;
        if (name.equals("qmp_capabilities")) {
          negotiated = true;
          result = object();
        } else if (negotiated && message.has("exec-oob")) {
          result =
              commands.runOutOfBand(message.path("exec-oob").asText(), message.path("arguments"));
        } else if (!negotiated) {
          throw new QmpError("Expecting capabilities negotiation with 'qmp_capabilities'");
        } else {
          result = commands.run(name, message.path("arguments"));
        }
        reply.set("return", result);
      } catch (JsonProcessingException e) {
        fail(reply, "JSON parse error");
      } catch (IOException e) {
        fail(reply, String.valueOf(e.getMessage()));
      } catch (QmpError e) {
        fail(reply, e.text());
      } catch (RuntimeException e) {
        LOG.error("{} failed unexpectedly", new String(line, StandardCharsets.UTF_8), e);
        fail(reply, "internal error: " + e);
      }
      send(reply);
    }

    private static void fail(ObjectNode reply, String description) {
      reply.remove("return");
      reply.putObject("error").put("class", "GenericError").put("desc", description);
    }
  }
}
