package io.xenferry.packaging;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/**
 * One server of a laboratory: a process of its own with its own state directory and loopback
 * address. It can be stopped, killed and started again on the same state.
 */
final class Site implements AutoCloseable {
  private static final Duration START_DEADLINE = Duration.ofMinutes(2);
  private static final Duration STOP_DEADLINE = Duration.ofSeconds(60);

  private final String name;
  private final Path directory;
  private final String address;
  private final List<String> options;
  private final List<String> jvmOptions;
  private final String program;
  private final List<String> through;
  private @org.jspecify.annotations.Nullable Process process;
  private Map<String, String> ready = Map.of();

  /**
   * @param name for people, and the name of the directory under the laboratory's
   * @param address a loopback address that no other site uses
   * @param program the main class of the server
   * @param options more options of the server
   * @param through a command that runs the server's own where it is to run; empty for here
   */
  Site(
      String name,
      Path parent,
      String address,
      List<String> jvmOptions,
      String program,
      List<String> options,
      List<String> through) {
    this.name = name;
    this.directory = parent.resolve(name);
    this.address = address;
    this.jvmOptions = List.copyOf(jvmOptions);
    this.program = program;
    this.options = List.copyOf(options);
    this.through = List.copyOf(through);
  }

  String name() {
    return name;
  }

  String address() {
    return address;
  }

  /** Where storage repositories, logs and the server's state lie. */
  Path directory() {
    return directory;
  }

  Path stateDirectory() {
    return directory.resolve("state");
  }

  Path log() {
    return directory.resolve("server.log");
  }

  Path socket() {
    return directory.resolve("xapi.sock");
  }

  /** The TLS port; it stays the same over restarts. */
  int port() {
    return Integer.parseInt(readyValue("port"));
  }

  String hostAndPort() {
    return address + ":" + port();
  }

  String fingerprint() {
    return readyValue("fingerprint");
  }

  String rootPassword() throws IOException {
    return Files.readString(stateDirectory().resolve("root-password")).strip();
  }

  long pid() {
    return running().pid();
  }

  boolean isAlive() {
    return process != null && process.isAlive();
  }

  /** Starts the server and waits until it says that it is ready. */
  void start() throws IOException, InterruptedException {
    launch();
    awaitReady();
  }

  /** Starts the server without waiting. */
  void launch() throws IOException {
    Files.createDirectories(directory);
    Files.deleteIfExists(stateDirectory().resolve("ready"));
    List<String> jvm = new ArrayList<>(jvmOptions);
    jvm.addAll(Jvm.serverCache(name));
    List<String> command = new ArrayList<>(through);
    command.addAll(Jvm.command(jvm, program));
    command.addAll(
        List.of(
            "--state-dir",
            stateDirectory().toString(),
            "--listen",
            address,
            "--port",
            ready.isEmpty() ? "0" : ready.get("port"),
            "--unix-socket",
            socket().toString()));
    command.addAll(options);
    process =
        new ProcessBuilder(command)
            .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
            .start();
  }

  /** Waits until the server that was launched says that it is ready. */
  void awaitReady() throws IOException, InterruptedException {
    Process starting = running();
    Path readyFile = stateDirectory().resolve("ready");
    long end = System.nanoTime() + START_DEADLINE.toNanos();
    while (!Files.exists(readyFile)) {
      if (!starting.isAlive()) {
        throw new IOException(name + " ended at start:\n" + tailOfLog());
      }
      if (System.nanoTime() > end) {
        throw new IOException(name + " is not ready after " + START_DEADLINE + ":\n" + tailOfLog());
      }
      Thread.sleep(20);
    }
    Map<String, String> values = new TreeMap<>();
    for (String word : Files.readString(readyFile).strip().split(" ")) {
      int eq = word.indexOf('=');
      if (eq > 0) {
        values.put(word.substring(0, eq), word.substring(eq + 1));
      }
    }
    ready = values;
  }

  /** SIGTERM, and waits for the end. */
  void stop() throws InterruptedException {
    Process p = running();
    p.destroy();
    if (!p.waitFor(STOP_DEADLINE.toSeconds(), TimeUnit.SECONDS)) {
      p.destroyForcibly().waitFor();
      throw new IllegalStateException(name + " did not end within " + STOP_DEADLINE);
    }
  }

  /** SIGKILL, and waits for the end. */
  void kill() throws InterruptedException {
    Process p = running();
    p.destroyForcibly();
    p.waitFor();
  }

  /** Waits until the server has ended by itself. */
  boolean awaitEnd(Duration limit) throws InterruptedException {
    return running().waitFor(limit.toMillis(), TimeUnit.MILLISECONDS);
  }

  String tailOfLog() {
    try {
      List<String> lines = Files.readAllLines(log(), StandardCharsets.UTF_8);
      return String.join("\n", lines.subList(Math.max(0, lines.size() - 40), lines.size()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Ends the server that another process of this program started here, if it still runs. */
  void endLeftServer() throws IOException {
    List<String> mine = List.of(program, stateDirectory().toString());
    List<ProcessHandle> servers;
    try (Stream<ProcessHandle> all = ProcessHandle.allProcesses()) {
      servers =
          all.filter(p -> List.of(p.info().arguments().orElse(new String[0])).containsAll(mine))
              .toList();
    }
    for (ProcessHandle server : servers) {
      server.destroy();
      try {
        server.onExit().get(STOP_DEADLINE.toSeconds(), TimeUnit.SECONDS);
      } catch (TimeoutException e) {
        server.destroyForcibly();
      } catch (ExecutionException e) {
        throw new IOException("cannot wait for process " + server.pid(), e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new InterruptedIOException("interrupted while " + name + " ends");
      }
    }
  }

  /** Ends the target daemon that the server leaves running for its successor. */
  void endTargets() throws IOException {
    Path note = stateDirectory().resolve("tgtd").resolve("tgtd.properties");
    if (Files.exists(note)) {
      java.util.Properties properties = new java.util.Properties();
      try (var in = Files.newInputStream(note)) {
        properties.load(in);
      }
      String pid = properties.getProperty("pid");
      if (pid != null) {
        ProcessHandle.of(Long.parseLong(pid)).ifPresent(ProcessHandle::destroyForcibly);
      }
    }
  }

  @Override
  public void close() {
    Process p = process;
    if (p != null && p.isAlive()) {
      p.destroy();
      try {
        if (!p.waitFor(STOP_DEADLINE.toSeconds(), TimeUnit.SECONDS)) {
          p.destroyForcibly();
        }
      } catch (InterruptedException e) {
        p.destroyForcibly();
        Thread.currentThread().interrupt();
      }
    }
  }

  private Process running() {
    if (process == null) {
      throw new IllegalStateException(name + " was not started");
    }
    return process;
  }

  private String readyValue(String key) {
    String value = ready.get(key);
    if (value == null) {
      throw new IllegalStateException(name + " did not say its " + key);
    }
    return value;
  }
}
