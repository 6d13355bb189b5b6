package io.xenferry.qemu.qmp;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.EOFException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A connection to a QMP monitor (QEMU Machine Protocol specification): greeting, capabilities, then
 * commands with ids, and events at any time. Thread-safe; callers wait for their own reply only,
 * though the peer works on one command at a time.
 *
 * <p>The peer is not trusted: a line beyond {@value #LINE_LIMIT} bytes, text that is no JSON
 * object, a reply to a command never sent, or more than {@value #EVENT_LIMIT} events not yet
 * handled end the connection. A reply that comes after its deadline is dropped.
 */
public final class QmpClient implements AutoCloseable {
  /** query-named-block-nodes of a guest with 100 disks and their snapshots stays below 1 MiB. */
  static final int LINE_LIMIT = 4 << 20;

  static final int EVENT_LIMIT = 4096;
  private static final int DEPTH_LIMIT = 64;
  private static final int COMMAND_LIMIT = 64;

  private static final Logger log = LoggerFactory.getLogger(QmpClient.class);

  /** One for all: immutable once configured. */
  static final ObjectMapper JSON =
      new ObjectMapper(
          JsonFactory.builder()
              .streamReadConstraints(
                  StreamReadConstraints.builder()
                      .maxNestingDepth(DEPTH_LIMIT)
                      .maxNumberLength(40)
                      .maxStringLength(LINE_LIMIT)
                      .build())
              .build());

  private record Outgoing(byte[] line) {}

  private final String name;
  private final SocketChannel channel;
  private final Consumer<QmpEvent> onEvent;
  private final Runnable onClose;
  private final AtomicLong ids = new AtomicLong();
  private final Map<Long, CompletableFuture<JsonNode>> waiting = new ConcurrentHashMap<>();
  private final BlockingQueue<Outgoing> outgoing = new ArrayBlockingQueue<>(COMMAND_LIMIT);
  private final BlockingQueue<Runnable> events = new ArrayBlockingQueue<>(EVENT_LIMIT);
  private final CompletableFuture<JsonNode> greeting = new CompletableFuture<>();
  private final AtomicReference<@Nullable HypervisorException> ended = new AtomicReference<>();
  private final AtomicBoolean closeTold = new AtomicBoolean();

  private QmpClient(
      String name, SocketChannel channel, Consumer<QmpEvent> onEvent, Runnable onClose) {
    this.name = name;
    this.channel = channel;
    this.onEvent = onEvent;
    this.onClose = onClose;
  }

  /**
   * Connects and leaves the negotiation mode.
   *
   * @param deadline for all of it; a monitor serves one client, so a second one waits in vain
   * @param onEvent called one after another on a thread that may call {@link #execute}
   * @param onClose called once, after the last event, when the connection has ended for any reason
   *     but not when this method throws
   */
  public static QmpClient connect(
      Path socket, Duration deadline, Consumer<QmpEvent> onEvent, Runnable onClose)
      throws HypervisorException, InterruptedException {
    SocketChannel channel;
    try {
      channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "no Unix socket to be had", e);
    }
    try {
      // On a Unix socket this waits only while the listener's backlog is full.
      channel.connect(UnixDomainSocketAddress.of(socket));
    } catch (IOException | RuntimeException e) {
      closeQuietly(channel);
      throw new HypervisorException(Kind.GONE, "nobody listens at " + socket, e);
    }
    QmpClient client = new QmpClient(socket.toString(), channel, onEvent, onClose);
    client.closeTold.set(true);
    long end = System.nanoTime() + deadline.toNanos();
    client.startThreads();
    try {
      client.await(client.greeting, deadline, "its greeting");
      client.execute(
          "qmp_capabilities",
          Map.of(),
          Duration.ofNanos(Math.max(1_000_000, end - System.nanoTime())));
      client.closeTold.set(false);
      if (client.ended.get() != null) {
        client.tellClosed();
      }
      return client;
    } catch (HypervisorException | InterruptedException e) {
      client.close();
      throw e;
    }
  }

  private void startThreads() {
    Thread.ofVirtual().name("qmp-read " + name).start(this::readLoop);
    Thread.ofVirtual().name("qmp-write " + name).start(this::writeLoop);
    Thread.ofVirtual().name("qmp-events " + name).start(this::eventLoop);
  }

  /**
   * Runs a command.
   *
   * @param arguments of strings, numbers, booleans, lists and maps; empty for none
   * @return what stands under {@code return}
   * @throws HypervisorException REFUSED with the peer's own words when it answers with an error,
   *     TIMEOUT when it does not answer, GONE when the connection has ended
   */
  public JsonNode execute(String command, Map<String, ?> arguments, Duration deadline)
      throws HypervisorException, InterruptedException {
    long id = ids.incrementAndGet();
    ObjectNode line = JSON.createObjectNode();
    line.put("execute", command);
    if (!arguments.isEmpty()) {
      line.set("arguments", JSON.valueToTree(arguments));
    }
    line.put("id", id);
    CompletableFuture<JsonNode> reply = new CompletableFuture<>();
    waiting.put(id, reply);
    try {
      HypervisorException end = ended.get();
      if (end != null) {
        throw again(end);
      }
      if (!outgoing.offer(new Outgoing((line + "\n").getBytes(StandardCharsets.UTF_8)))) {
        throw new HypervisorException(
            Kind.TIMEOUT, command + " not sent to " + name + ": too many commands wait");
      }
      JsonNode answer = await(reply, deadline, "its answer to " + command);
      JsonNode error = answer.get("error");
      if (error != null) {
        throw new HypervisorException(
            Kind.REFUSED,
            command + ": " + error.path("desc").asText(error.path("class").asText("no reason")));
      }
      return answer.path("return");
    } finally {
      waiting.remove(id);
    }
  }

  public JsonNode execute(String command, Duration deadline)
      throws HypervisorException, InterruptedException {
    return execute(command, Map.of(), deadline);
  }

  /** Whether commands may still be sent. */
  public boolean isOpen() {
    return ended.get() == null;
  }

  /** Ends the connection; the peer goes on. Commands that wait fail with GONE. */
  @Override
  public void close() {
    end(new HypervisorException(Kind.GONE, "the connection to " + name + " was closed"));
  }

  private JsonNode await(CompletableFuture<JsonNode> what, Duration deadline, String called)
      throws HypervisorException, InterruptedException {
    try {
      return what.get(deadline.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new HypervisorException(
          Kind.TIMEOUT, name + " did not send " + called + " within " + deadline, e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof HypervisorException cause) {
        throw again(cause);
      }
      throw new HypervisorException(Kind.PROTOCOL, name + ": " + called, e);
    }
  }

  /** A copy with the caller's own stack. */
  private static HypervisorException again(HypervisorException cause) {
    String message = cause.getMessage();
    return new HypervisorException(cause.kind(), message == null ? "ended" : message, cause);
  }

  private void readLoop() {
    QmpLines lines = new QmpLines(channel, LINE_LIMIT);
    try {
      while (true) {
        receive(lines.next());
      }
    } catch (EOFException e) {
      end(new HypervisorException(Kind.GONE, name + " closed the connection", e));
    } catch (JsonProcessingException | QmpLines.LineTooLong e) {
      end(
          new HypervisorException(
              Kind.PROTOCOL, name + " does not speak QMP: " + firstLine(e.getMessage()), e));
    } catch (IOException e) {
      end(new HypervisorException(Kind.GONE, "the connection to " + name + " broke", e));
    } catch (HypervisorException e) {
      end(e);
    } catch (RuntimeException | StackOverflowError e) {
      end(new HypervisorException(Kind.PROTOCOL, name + " does not speak QMP", e));
    }
  }

  private static String firstLine(@Nullable String text) {
    return text == null ? "" : text.lines().findFirst().orElse("");
  }

  private void receive(byte[] line) throws IOException, HypervisorException {
    if (line.length == 0) {
      return;
    }
    JsonNode message = JSON.readTree(line);
    if (message == null || !message.isObject()) {
      throw new HypervisorException(Kind.PROTOCOL, name + " sent something that is no object");
    }
    if (!greeting.isDone()) {
      if (!message.path("QMP").isObject()) {
        throw new HypervisorException(Kind.PROTOCOL, name + " did not greet as a QMP monitor");
      }
      greeting.complete(message);
    } else if (message.has("event")) {
      QmpEvent event = new QmpEvent(message.path("event").asText(), message.path("data"));
      if (!events.offer(() -> onEvent.accept(event))) {
        throw new HypervisorException(Kind.PROTOCOL, name + " floods us with events");
      }
    } else if (message.has("return") || message.has("error")) {
      answer(message);
    } else {
      throw new HypervisorException(Kind.PROTOCOL, name + " sent neither reply nor event");
    }
  }

  private void answer(JsonNode message) throws HypervisorException {
    JsonNode id = message.path("id");
    if (!id.isIntegralNumber()) {
      // QMP answers without an id when it could not parse what we sent.
      throw new HypervisorException(
          Kind.PROTOCOL,
          name + " did not understand us: " + message.path("error").path("desc").asText());
    }
    if (!id.canConvertToLong() || id.asLong() < 1 || id.asLong() > ids.get()) {
      throw new HypervisorException(Kind.PROTOCOL, name + " answered what nobody asked");
    }
    CompletableFuture<JsonNode> reply = waiting.get(id.asLong());
    if (reply == null) {
      log.debug("{}: late answer to command {}", name, id.asLong());
    } else {
      reply.complete(message);
    }
  }

  private void writeLoop() {
    try {
      while (true) {
        ByteBuffer line = ByteBuffer.wrap(outgoing.take().line());
        if (line.remaining() == 0) {
          return;
        }
        while (line.hasRemaining()) {
          channel.write(line);
        }
      }
    } catch (IOException e) {
      end(new HypervisorException(Kind.GONE, "the connection to " + name + " broke", e));
    } catch (InterruptedException e) {
      end(new HypervisorException(Kind.GONE, "the connection to " + name + " was interrupted", e));
    }
  }

  private void eventLoop() {
    try {
      while (true) {
        Runnable next = events.poll(1, TimeUnit.SECONDS);
        if (next == null) {
          if (ended.get() != null && events.isEmpty()) {
            return;
          }
          continue;
        }
        try {
          next.run();
        } catch (RuntimeException e) {
          log.warn("{}: a listener failed", name, e);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void end(HypervisorException why) {
    if (!ended.compareAndSet(null, why)) {
      return;
    }
    if (why.kind() == Kind.PROTOCOL) {
      log.warn("{}", why.getMessage());
    }
    closeQuietly(channel);
    greeting.completeExceptionally(why);
    waiting.values().forEach(reply -> reply.completeExceptionally(why));
    outgoing.clear();
    outgoing.offer(new Outgoing(new byte[0]));
    tellClosed();
  }

  private void tellClosed() {
    if (closeTold.compareAndSet(false, true) && !events.offer(onClose)) {
      Thread.ofVirtual().name("qmp-closed " + name).start(onClose);
    }
  }

  private static void closeQuietly(SocketChannel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      log.debug("closing a socket", e);
    }
  }
}
