package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.RequestBody;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One command of one client, from the body of {@code POST /cli} to Exit.
 *
 * <p>Order: greetings; taking the command line apart; refusal of what is unknown or incomplete,
 * before any login; login; the command; its output; logout; Exit with 0 or 1.
 */
public final class CliSession {
  private static final Logger LOG = LoggerFactory.getLogger(CliSession.class);

  private static final String LOGIN_VERSION = "1.3";
  private static final String HELP_LINE = "Try \"xe help\" for the commands and what they take.\n";

  private final ClientChannel client;
  private final CliEnvironment environment;

  private CliSession(ClientChannel client, CliEnvironment environment) {
    this.client = client;
    this.environment = environment;
  }

  /**
   * Serves one client on the calling thread, which blocks while the command runs; a virtual one is
   * fine. No HTTP answer may have been written. The connection is left for the caller to close, but
   * closed here when the client misses a deadline.
   *
   * @param body the request's body, of at most {@link RequestBody#LIMIT} bytes
   * @param in what follows the request on the connection
   * @param out the connection towards the client
   * @param connection closes the connection from any thread, so that blocked reads and writes end
   */
  public static void run(
      byte[] body,
      InputStream in,
      OutputStream out,
      Closeable connection,
      CliEnvironment environment) {
    run(body, in, out, connection, environment, ClientChannel.Deadlines.DEFAULT);
  }

  static void run(
      byte[] body,
      InputStream in,
      OutputStream out,
      Closeable connection,
      CliEnvironment environment,
      ClientChannel.Deadlines deadlines) {
    ClientChannel client = new ClientChannel(in, out, connection, deadlines);
    try {
      client.greet();
      CliSession session = new CliSession(client, environment);
      try {
        session.serve(RequestBody.split(body));
      } catch (RequestBody.NotText e) {
        session.refuse(e);
      }
    } catch (InterruptedIOException e) {
      LOG.info("A client of xe was dropped: {}", e.getMessage());
    } catch (IOException e) {
      LOG.debug("A client of xe went away", e);
    }
  }

  private void refuse(RequestBody.NotText e) throws IOException {
    show(
        Optional.empty(),
        new XenApiException("INVALID_VALUE", "Invalid UTF-8 string in parameter", e.argument()));
    client.send(new Message.Exit(1));
  }

  private void serve(List<String> items) throws IOException {
    boolean trace = items.contains("--trace") || items.contains("trace=true");
    int status = 1;
    try {
      if (command(Arguments.parse(items))) {
        status = 0;
      }
    } catch (CliException e) {
      show(e);
      trace(trace && e.kind() == CliException.Kind.COMMAND, e);
    } catch (XenApiException e) {
      show(Optional.empty(), e);
      trace(trace, e);
    } catch (RuntimeException e) {
      LOG.error("A command of xe failed unexpectedly", e);
      show(Optional.empty(), new XenApiException("INTERNAL_ERROR", e.toString()));
      trace(trace, e);
    }
    client.send(new Message.Exit(status));
  }

  private boolean command(Arguments arguments) throws CliException, XenApiException, IOException {
    Printer printer = new Printer(client, arguments.flag("minimal"));
    if (arguments.command().equals("help")) {
      Help.run(arguments, printer, client);
      printer.flush();
      return true;
    }
    Command command =
        Commands.named(arguments.command())
            .orElseThrow(
                () -> new CliException(CliException.Kind.UNKNOWN_COMMAND, arguments.command()));
    for (String needed : command.needs()) {
      if (!arguments.has(needed)) {
        throw CliException.required(needed);
      }
    }
    Optional<String> coordinator = environment.coordinatorAddress();
    if (coordinator.isPresent() && !command.neverForwarded()) {
      throw new XenApiException("HOST_IS_SLAVE", coordinator.get());
    }
    Command.Handler handler =
        command
            .handler()
            .orElseThrow(() ->
                CliException.failed(
                    "The command '%s' is not available on this server".formatted(command.name())));
    return inSession(arguments, command, handler, printer);
  }

  private boolean inSession(
      Arguments arguments, Command command, Command.Handler handler, Printer printer)
      throws CliException, XenApiException, IOException {
    boolean ours = arguments.session().isEmpty();
    Optional<String> session = ours ? login(arguments) : arguments.session();
    if (session.isEmpty()) {
      return false;
    }
    Calls calls = new Calls(environment.api(), session.get());
    try {
      Display display = new Display(calls);
      handler.run(
          new Run(
              arguments,
              command,
              calls,
              client,
              printer,
              display,
              new Selection(calls, display),
              environment));
      printer.flush();
      return true;
    } catch (XenApiException e) {
      show(Optional.of(calls), e);
      trace(arguments.flag("trace"), e);
      return false;
    } finally {
      if (ours) {
        logout(session.get());
      }
    }
  }

  /** The session, or nothing after the user was told that there is none. */
  private Optional<String> login(Arguments arguments) throws XenApiException, IOException {
    String user = arguments.get("username", "");
    try {
      if (environment.preAuthenticated() && (user.isEmpty() || user.equals("root"))) {
        return Optional.of(environment.openLocalSession());
      }
      Value session =
          environment
              .api()
              .call(
                  "session.login_with_password",
                  Value.of(user),
                  Value.of(arguments.get("password", "")),
                  Value.of(LOGIN_VERSION),
                  Value.of("cli"));
      return Optional.of(Calls.text(session));
    } catch (XenApiException e) {
      if (!e.code().equals("SESSION_AUTHENTICATION_FAILED")) {
        throw e;
      }
      client.stderr(
          (user.isEmpty() ? "A user name and a password are needed\n" : "Authentication failed\n")
              + HELP_LINE);
      return Optional.empty();
    }
  }

  private void logout(String session) {
    try {
      environment.api().call("session.logout", Value.of(session));
    } catch (XenApiException e) {
      LOG.debug("logout of xe's session", e);
    }
  }

  private void show(CliException e) throws IOException {
    switch (e.kind()) {
      case UNKNOWN_COMMAND -> client.stderr("Unknown command: " + e.text() + "\n" + HELP_LINE);
      case SYNTAX -> client.stderr("Syntax error: " + e.text() + "\n" + HELP_LINE);
      case REQUIRED ->
          client.stderr("Required parameter not found: " + e.text() + "\n" + HELP_LINE);
      case COMMAND -> client.stderr("Error: " + e.text() + "\n");
      case FIELD -> client.send(new Message.ShowError("Missing parameter", List.of(e.text())));
      case SHOWN -> {}
    }
  }

  private void show(Optional<Calls> calls, XenApiException e) throws IOException {
    if (ErrorText.documented(e.code())) {
      client.stderr(ErrorText.lines(calls, e));
    } else {
      client.send(new Message.ShowError(e.code(), e.params()));
    }
  }

  private void trace(boolean wanted, Exception e) throws IOException {
    if (wanted) {
      StringWriter backtrace = new StringWriter();
      for (StackTraceElement element : e.getStackTrace()) {
        new PrintWriter(backtrace).println(element);
      }
      client.stderr("Raised " + e + "\nBacktrace:\n" + backtrace);
    }
  }
}
