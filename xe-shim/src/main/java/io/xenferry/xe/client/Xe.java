package io.xenferry.xe.client;

import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.ProtocolException;
import io.xenferry.xe.protocol.RequestBody;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The thin client {@code xe}: sends its arguments to the server and does what the server says.
 *
 * <p>The status is the server's, 1 for every failure on this side, 0 after usage.
 */
public final class Xe {
  private final Map<String, String> environment;

  private final Instructions.Streams streams;

  public Xe(Map<String, String> environment, InputStream in, OutputStream out, OutputStream err) {
    this.environment = Map.copyOf(environment);
    this.streams = new Instructions.Streams(in, out, err);
  }

  public static void main(String[] args) throws IOException {
    Xe xe =
        new Xe(
            System.getenv(),
            new FileInputStream(FileDescriptor.in),
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)),
            new FileOutputStream(FileDescriptor.err));
    int status = xe.main(List.of(args));
    if (status != 0) {
      System.exit(status);
    }
  }

  private int main(List<String> decoded) throws IOException {
    List<String> args;
    try {
      args = ExactArguments.of(decoded, ExactArguments.COMMAND_LINE);
    } catch (ClientException e) {
      streams.complain(e.getMessage() + "\n");
      return e.status();
    }
    return run(args);
  }

  /** Runs one command and returns the status to end with. */
  public int run(List<String> args) throws IOException {
    if (args.contains("-version") || args.contains("--version")) {
      streams.print("ThinCLI protocol: " + Greeting.OURS);
      return 0;
    }
    if (args.isEmpty() || args.contains("-help") || args.contains("--help")) {
      streams.complain(USAGE);
      return 0;
    }
    try {
      return run(Options.read(args, environment));
    } catch (ClientException e) {
      streams.complain(e.getMessage() + "\n" + (e.showsUsage() ? USAGE : ""));
      return e.status();
    }
  }

  private int run(Options options) throws IOException, ClientException {
    if (options.warning().isPresent()) {
      streams.complain(options.warning().get() + "\n");
    }
    if (options.arguments().isEmpty()) {
      throw ClientException.usage("A command is missing.");
    }
    if (options.arguments().getFirst().equals("console")) {
      // Before the server says that it connects.
      Terminal.require();
    }
    Trace trace = new Trace(options, streams);
    int status = 1;
    try {
      status = talk(options, trace);
      return status;
    } finally {
      trace.finish(status);
    }
  }

  private int talk(Options options, Trace trace) throws IOException, ClientException {
    byte[] request = request(options);
    Transport transport = new Transport(options, environment);
    try (Transport.Connection c = connect(transport, trace)) {
      OutputStream out = new BufferedOutputStream(c.out());
      InputStream in = new BufferedInputStream(c.in());
      Greeting server;
      try {
        out.write(request);
        out.flush();
        server = greeting(in);
        trace.line("The server speaks version " + server);
        if (!Greeting.OURS.accepts(server)) {
          throw ClientException.failedWithUsage(
              "The server speaks version %s of the protocol, this client %s."
                  .formatted(server, Greeting.OURS));
        }
        Greeting.OURS.write(out);
        out.flush();
      } catch (IOException e) {
        trace.line(e.toString());
        throw unreachable();
      }
      Instructions instructions = new Instructions(in, out, server.heartbeats(), streams, trace);
      FileGuard guard = new FileGuard(options.arguments());
      Transfers transfers =
          new Transfers(
              transport, guard, instructions, streams.in(), streams.out(), System::nanoTime);
      return obey(instructions, guard, transfers, trace);
    }
  }

  private static int obey(
      Instructions instructions, FileGuard guard, Transfers transfers, Trace trace)
      throws IOException, ClientException {
    try {
      return instructions.obey(guard, transfers);
    } catch (IOException e) {
      trace.line(e.toString());
      throw ClientException.failed("Operation failed. Error: " + e.getMessage());
    }
  }

  private static Transport.Connection connect(Transport transport, Trace trace)
      throws IOException, ClientException {
    try {
      return transport.control();
    } catch (IOException e) {
      trace.line(e.toString());
      throw unreachable();
    }
  }

  private static ClientException unreachable() {
    return ClientException.failed(
        "Unable to contact server. Please check server and port settings.");
  }

  private static byte[] request(Options options) throws ClientException, IOException {
    List<String> items = new ArrayList<>(options.arguments());
    items.add("username=" + options.user());
    items.add("password=" + options.password());
    byte[] body;
    try {
      body = RequestBody.join(items);
    } catch (ProtocolException e) {
      throw ClientException.failed("Error: " + e.getMessage());
    }
    StringBuilder head = new StringBuilder("POST /cli HTTP/1.0\r\n");
    head.append("User-agent: xe-cli/Unix/").append(Greeting.OURS).append("\r\n");
    head.append("originator: cli\r\n");
    options.traceparent().ifPresent(v -> header(head, "traceparent", v));
    options.baggage().ifPresent(v -> header(head, "baggage", v));
    head.append("content-length: ").append(body.length).append("\r\n\r\n");
    byte[] start = head.toString().getBytes(StandardCharsets.ISO_8859_1);
    byte[] request = java.util.Arrays.copyOf(start, start.length + body.length);
    System.arraycopy(body, 0, request, start.length, body.length);
    return request;
  }

  private static void header(StringBuilder head, String name, String value) {
    for (int i = 0; i < value.length(); i++) {
      if (value.charAt(i) < ' ') {
        return;
      }
    }
    head.append(name).append(": ").append(value).append("\r\n");
  }

  /**
   * Reads the greeting; an HTTP answer in its place is read to its end, as the connection closes
   * then.
   */
  private static Greeting greeting(InputStream in) throws IOException, ClientException {
    byte[] first = in.readNBytes(4);
    if (new String(first, StandardCharsets.ISO_8859_1).equalsIgnoreCase("HTTP")) {
      throw ClientException.failed("Server internal error.");
    }
    try {
      return Greeting.readAfter(first, in);
    } catch (ProtocolException e) {
      throw ClientException.failedWithUsage("Failed to contact a running management agent.");
    }
  }

  private static final String USAGE =
      """
      Usage: xe COMMAND [ -s SERVER ] [ -p PORT ] [ -u USER ] [ -pw PASSWORD ]
                [ -pwf FILE ] [ --nossl ] [ --debug ] [ --debug-on-fail ]
                [ --traceparent TRACE ] [ --minimal ] [ --trace ] [ NAME=VALUE ... ]

      Without -s, the server on this machine is asked. "xe help" lists its commands.
      """;
}
