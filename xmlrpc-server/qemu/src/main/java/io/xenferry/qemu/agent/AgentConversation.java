package io.xenferry.qemu.agent;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.ConnectException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A conversation with the agent (QEMU Guest Agent Protocol Reference): it begins with {@code
 * guest-sync-delimited}, since the port may still hold what the agent, or an earlier one, has said
 * to somebody else. For one thread.
 *
 * <p>The guest is not trusted. All that it may say in one conversation is {@value #TOTAL_LIMIT}
 * bytes, in lines of {@value #LINE_LIMIT}, within one deadline; JSON is flat. Whatever is beyond
 * that ends the conversation.
 */
public final class AgentConversation implements AutoCloseable {
  /** A guest with 100 interfaces says some 40 KiB of them. */
  static final int LINE_LIMIT = 256 << 10;

  static final int TOTAL_LIMIT = 1 << 20;
  private static final int DEPTH_LIMIT = 12;
  private static final int STRING_LIMIT = 8 << 10;

  /** Begins the answer to the synchronisation; the agent forgets what it has read so far at one. */
  private static final int SENTINEL = 0xff;

  private static final Logger log = LoggerFactory.getLogger(AgentConversation.class);

  private static final ObjectMapper JSON =
      new ObjectMapper(
          JsonFactory.builder()
              // Names come from the guest: none of them is to be remembered.
              .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
              .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
              .streamReadConstraints(
                  StreamReadConstraints.builder()
                      .maxNestingDepth(DEPTH_LIMIT)
                      .maxNumberLength(32)
                      .maxNameLength(256)
                      .maxStringLength(STRING_LIMIT)
                      .build())
              .build());

  private final SocketChannel channel;
  private final Duration deadline;
  private final CompletableFuture<Void> over = new CompletableFuture<>();
  private final ByteBuffer input = ByteBuffer.allocate(16 << 10).flip();
  private int received;

  private AgentConversation(SocketChannel channel, Duration deadline) {
    this.channel = channel;
    this.deadline = deadline;
    // A thread that waits for a socket hears of nothing but its closing.
    var unused =
        over.orTimeout(deadline.toNanos(), TimeUnit.NANOSECONDS)
            .whenComplete((done, late) -> closeQuietly(channel));
  }

  /**
   * Begins one, and returns when the agent listens.
   *
   * @param socket the host's end of the agent's port; one client at a time is heard there
   * @param deadline of the whole conversation
   */
  public static AgentConversation open(Path socket, Duration deadline)
      throws HypervisorException, InterruptedException {
    SocketChannel channel;
    try {
      channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "no Unix socket to be had", e);
    }
    AgentConversation conversation = new AgentConversation(channel, deadline);
    try {
      conversation.connect(socket);
      conversation.synchronise();
      return conversation;
    } catch (HypervisorException | InterruptedException | RuntimeException e) {
      conversation.close();
      throw e;
    }
  }

  private void connect(Path socket) throws HypervisorException, InterruptedException {
    try {
      // Waits while somebody else is served whose connection fills the backlog.
      channel.connect(UnixDomainSocketAddress.of(socket));
    } catch (ConnectException | NoSuchFileException e) {
      throw new HypervisorException(Kind.GONE, "nobody listens at " + socket, e);
    } catch (IOException e) {
      throw translated(e);
    }
  }

  private void synchronise() throws HypervisorException, InterruptedException {
    long id = ThreadLocalRandom.current().nextLong(1, 1L << 52);
    try {
      channel.write(ByteBuffer.wrap(new byte[] {(byte) SENTINEL}));
      send("guest-sync-delimited", Map.of("id", id));
      while (true) {
        while (next() != SENTINEL) {
          // Of a conversation before this one.
          continue;
        }
        JsonNode told = parsed(line()).path("return");
        if (told.isIntegralNumber() && told.canConvertToLong() && told.asLong() == id) {
          return;
        }
      }
    } catch (IOException e) {
      throw translated(e);
    }
  }

  /**
   * Runs a command.
   *
   * @return what stands under {@code return}, of any form
   * @throws HypervisorException REFUSED with the agent's words when it answers with an error; the
   *     conversation may go on then
   */
  public JsonNode ask(String command) throws HypervisorException, InterruptedException {
    JsonNode answer;
    try {
      send(command, Map.of());
      answer = parsed(line());
    } catch (IOException e) {
      throw translated(e);
    }
    if (answer.has("error")) {
      throw new HypervisorException(
          Kind.REFUSED,
          command + ": " + AgentText.printable(answer.path("error").path("desc").asText("")));
    }
    if (!answer.has("return")) {
      throw new HypervisorException(Kind.PROTOCOL, "the agent gives no answer to " + command);
    }
    return answer.path("return");
  }

  /** Runs a command that is answered only when it fails. */
  public void tell(String command, Map<String, ?> arguments)
      throws HypervisorException, InterruptedException {
    try {
      send(command, arguments);
    } catch (IOException e) {
      throw translated(e);
    }
  }

  private void send(String command, Map<String, ?> arguments) throws IOException {
    ObjectNode line = JSON.createObjectNode();
    line.put("execute", command);
    if (!arguments.isEmpty()) {
      line.set("arguments", JSON.valueToTree(arguments));
    }
    ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private static JsonNode parsed(byte[] line) throws IOException {
    JsonNode answer = JSON.readTree(line);
    if (answer == null || !answer.isObject()) {
      throw new Nonsense("it is no object");
    }
    return answer;
  }

  private byte[] line() throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    while (true) {
      int b = next();
      if (b == '\n') {
        return line.toByteArray();
      }
      if (line.size() == LINE_LIMIT) {
        throw new Nonsense("a line of more than " + LINE_LIMIT + " bytes");
      }
      line.write(b);
    }
  }

  private int next() throws IOException {
    while (!input.hasRemaining()) {
      input.clear();
      int got = channel.read(input);
      input.flip();
      if (got < 0) {
        throw new EOFException("the port was closed");
      }
      received += got;
      if (received > TOTAL_LIMIT) {
        throw new Nonsense("more than " + TOTAL_LIMIT + " bytes");
      }
    }
    return input.get() & 0xff;
  }

  /** The guest does not keep to the protocol. */
  private static final class Nonsense extends IOException {
    private static final long serialVersionUID = 1L;

    Nonsense(String what) {
      super(what);
    }
  }

  private HypervisorException translated(IOException e) throws InterruptedException {
    if (e instanceof ClosedByInterruptException) {
      Thread.interrupted();
      throw new InterruptedException("while the guest's agent was asked");
    }
    if (over.isCompletedExceptionally()) {
      return new HypervisorException(
          Kind.TIMEOUT, "the guest's agent did not answer within " + deadline, e);
    }
    if (e instanceof JsonProcessingException json) {
      // Its message quotes the guest.
      json.clearLocation();
      return new HypervisorException(Kind.PROTOCOL, "the guest's agent answers no JSON of ours", e);
    }
    if (e instanceof Nonsense) {
      return new HypervisorException(Kind.PROTOCOL, "the guest's agent: " + e.getMessage(), e);
    }
    return new HypervisorException(Kind.GONE, "the way to the guest's agent broke", e);
  }

  @Override
  public void close() {
    over.complete(null);
  }

  private static void closeQuietly(SocketChannel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      log.debug("closing a socket", e);
    }
  }
}
