package io.xenferry.bench.api;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Our server as a process, with a session of root's. */
final class ApiServer implements AutoCloseable {
  private static final String SERVER = "io.xenferry.server.ServerMain";
  private static final Pattern PORT = Pattern.compile(" http-port=(\\d+)");

  /** Connections that make VMs. */
  private static final int MAKERS = 8;

  private final Program program;
  private final int port;
  private final String password;
  private String session = "";
  private final double startSeconds;
  private final double firstAnswerSeconds;

  private ApiServer(Path state) throws IOException, InterruptedException {
    long began = System.nanoTime();
    program =
        Program.server(
            List.of("-Xmx512m", "-Dlogback.configurationFile=xenferry-logback.xml"),
            SERVER,
            List.of(
                "--state-dir",
                state.toString(),
                "--port",
                "0",
                "--http-port",
                "0",
                "--hypervisor",
                "simulated",
                "--target",
                "embedded"));
    startSeconds = (System.nanoTime() - began) / 1e9;
    Matcher http = PORT.matcher(program.ready());
    if (!http.find()) {
      program.close();
      throw new IOException("the server tells no port: " + program.ready());
    }
    port = Integer.parseInt(http.group(1));
    password = Files.readString(state.resolve("root-password")).strip();
    logIn();
    firstAnswerSeconds = (System.nanoTime() - began) / 1e9;
  }

  static final String LOGIN = "session.login_with_password";

  /** Starts it on what is in the directory. */
  static ApiServer start(Path state) throws IOException, InterruptedException {
    return new ApiServer(state);
  }

  /** Anew: there are only so many sessions, and logins that are measured push out older ones. */
  void logIn() throws IOException {
    try (Connection connection = new Connection(port)) {
      session = Call.reference(Call.on(connection, LOGIN, "root", password, "1.0", "bench"));
    }
  }

  int port() {
    return port;
  }

  String password() {
    return password;
  }

  String session() {
    return session;
  }

  double startSeconds() {
    return startSeconds;
  }

  /** From its start to the answer to the first login. */
  double firstAnswerSeconds() {
    return firstAnswerSeconds;
  }

  Program program() {
    return program;
  }

  /** A VM to ask for. */
  String vm() throws IOException {
    try (Connection connection = new Connection(port)) {
      return Call.reference(Call.on(connection, "VM.get_by_name_label", session, "vm 0"));
    }
  }

  /** Clones a template until there are so many VMs of ours. */
  void grow(int from, int to) throws IOException, InterruptedException {
    String template;
    try (Connection connection = new Connection(port)) {
      template =
          Call.reference(
              Call.on(connection, "VM.get_by_name_label", session, "Other install media"));
    }
    try (ExecutorService makers = Executors.newFixedThreadPool(MAKERS)) {
      List<Future<?>> all = new ArrayList<>();
      for (int maker = 0; maker < MAKERS; maker++) {
        int first = from + maker;
        all.add(
            makers.submit(() -> {
              try (Connection connection = new Connection(port)) {
                for (int i = first; i < to; i += MAKERS) {
                  Call.on(connection, "VM.clone", session, template, "vm " + i);
                }
              }
              return null;
            }));
      }
      for (Future<?> one : all) {
        one.get();
      }
    } catch (ExecutionException e) {
      throw new IOException("VMs could not be made: " + e, e);
    }
  }

  @Override
  public void close() throws InterruptedException {
    program.close();
  }
}
