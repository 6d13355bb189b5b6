package io.xenferry.bench.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.bench.command.Commands;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A server of ours on one of the two hosts, as {@code ./xenferry server} starts it. */
final class XenFerryHost implements AutoCloseable {
  private static final String SERVER = "io.xenferry.server.ServerMain";
  private static final String CLIENT = "io.xenferry.xe.client.Xe";
  private static final Duration START_DEADLINE = Duration.ofMinutes(2);

  private final Side side;
  private final Network network;
  private final Path directory;
  private final Path bootDirectory;
  private Optional<Process> process = Optional.empty();
  private Map<String, String> ready = Map.of();
  private String sr = "";

  /**
   * @param bootDirectory where the guest's kernel is
   */
  XenFerryHost(Side side, Network network, Path directory, Path bootDirectory) {
    this.side = side;
    this.network = network;
    this.directory = directory;
    this.bootDirectory = bootDirectory;
  }

  /** Starts the server without waiting. */
  void launch() throws IOException {
    Files.createDirectories(directory);
    List<String> command = new ArrayList<>(List.of("setsid"));
    List<String> options =
        new ArrayList<>(List.of("--enable-native-access=ALL-UNNAMED", "-Xmx512m"));
    cache("server.aot").ifPresent(cache -> options.add("-XX:AOTCache=" + cache));
    command.addAll(java(options, classPath()));
    command.addAll(
        List.of(
            SERVER,
            "--state-dir",
            state().toString(),
            "--listen",
            network.address(side),
            "--port",
            "0",
            "--unix-socket",
            socket().toString(),
            "--hypervisor",
            "qemu",
            "--boot-dir",
            bootDirectory.toString()));
    process =
        Optional.of(
            new ProcessBuilder(network.in(side, command))
                .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .redirectErrorStream(true)
                .redirectOutput(log().toFile())
                .start());
  }

  private static String classPath() {
    return System.getProperty("java.class.path");
  }

  private static List<String> java(List<String> options, String classPath) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-XX:+UseSerialGC");
    command.addAll(options);
    command.addAll(List.of("-cp", classPath));
    return command;
  }

  /** Waits until the server says that it is ready, and makes its SR. */
  void awaitReady() throws IOException, InterruptedException {
    Path file = state().resolve("ready");
    long end = System.nanoTime() + START_DEADLINE.toNanos();
    while (!Files.exists(file)) {
      if (!process.map(Process::isAlive).orElse(false) || System.nanoTime() > end) {
        throw new IOException("XenFerry's server does not come up: " + Files.readString(log()));
      }
      Thread.sleep(20);
    }
    Map<String, String> values = new TreeMap<>();
    for (String word : Files.readString(file).strip().split(" ", -1)) {
      int eq = word.indexOf('=');
      if (eq > 0) {
        values.put(word.substring(0, eq), word.substring(eq + 1));
      }
    }
    ready = values;
    sr =
        xe(
            "sr-create",
            "name-label=local storage",
            "type=file",
            "device-config:location=" + storage());
  }

  /** The uuid of its SR. */
  String sr() {
    return sr;
  }

  private Path state() {
    return directory.resolve("state");
  }

  private Path storage() {
    return directory.resolve("sr");
  }

  Path socket() {
    return directory.resolve("xapi.sock");
  }

  Path log() {
    return directory.resolve("server.log");
  }

  String hostAndPort() {
    return network.address(side) + ":" + ready.getOrDefault("port", "");
  }

  String rootPassword() throws IOException {
    return Files.readString(state().resolve("root-password")).strip();
  }

  /** The image of a disk of the SR. */
  Path image(String vdi) {
    return storage().resolve(vdi + ".raw");
  }

  /** The second serial port of a guest, where it is once the guest runs. */
  Path console(String vm) {
    return state().resolve("guests").resolve(vm).resolve("serial1.sock");
  }

  /** What the server tells of the moves of a VM that it took part in, see docs/rest.md. */
  List<JsonNode> migrations(String vm) throws IOException {
    List<JsonNode> found = new ArrayList<>();
    for (JsonNode migration : new ObjectMapper().readTree(rest("GET", "/v1/migrations"))) {
      if (migration.path("vm").asText().equals(vm)) {
        found.add(migration);
      }
    }
    return found;
  }

  /** Whether a move of a VM is under way as far as this server knows. */
  boolean isMigrating(String vm) throws IOException {
    return migrations(vm).stream().anyMatch(m -> !m.path("ended").asBoolean());
  }

  /**
   * Cancels the one move of a VM that is under way.
   *
   * @return false when it is too late for that
   */
  boolean cancelMigration(String vm) throws IOException {
    String id =
        migrations(vm).stream()
            .filter(m -> !m.path("ended").asBoolean())
            .map(m -> m.path("migration").asText())
            .findFirst()
            .orElse("");
    if (id.isEmpty()) {
      return false;
    }
    try {
      rest("POST", "/v1/migrations/" + id + "/cancel");
      return true;
    } catch (IOException e) {
      if (String.valueOf(e.getMessage()).contains(" 409 ")) {
        return false;
      }
      throw e;
    }
  }

  /** Cancels the moves of a VM that are under way, and waits for their end. */
  void cancelMigrations(String vm) throws IOException, InterruptedException {
    long end = System.nanoTime() + Commands.DEADLINE.toNanos();
    boolean cancelled = false;
    while (true) {
      List<String> unended =
          migrations(vm).stream()
              .filter(m -> !m.path("ended").asBoolean())
              .map(m -> m.path("migration").asText())
              .toList();
      if (unended.isEmpty()) {
        return;
      }
      if (System.nanoTime() > end) {
        throw new IOException("the move of VM " + vm + " does not end");
      }
      if (!cancelled) {
        cancelled = true;
        for (String migration : unended) {
          try {
            rest("POST", "/v1/migrations/" + migration + "/cancel");
          } catch (IOException e) {
            // Beyond its commit: it ends by itself.
            cancelled = false;
          }
        }
      }
      Thread.sleep(100);
    }
  }

  private String rest(String method, String path) throws IOException {
    String answer;
    try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket()))) {
      String request =
          method + " " + path + " HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.US_ASCII)));
      answer = new String(Channels.newInputStream(channel).readAllBytes(), StandardCharsets.UTF_8);
    }
    int body = answer.indexOf("\r\n\r\n");
    if (!answer.matches("(?s)HTTP/1\\.[01] 20\\d .*") || body < 0) {
      throw new IOException(method + " " + path + ": " + answer);
    }
    return answer.substring(body);
  }

  /** Runs {@code xe} over the local socket, and returns the last line of what it says. */
  String xe(String... arguments) throws IOException, InterruptedException {
    return xe(Commands.DEADLINE, arguments);
  }

  String xe(Duration limit, String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(client());
    command.addAll(List.of(arguments));
    String output = Commands.run(command, Map.of("XENFERRY_SOCKET", socket().toString()), limit);
    return output.lines().reduce((a, b) -> b).orElse("").strip();
  }

  /** What the build has trained. */
  private static Optional<Path> cache(String name) {
    return Optional.ofNullable(System.getProperty("xenferry.lib"))
        .map(lib -> Path.of(lib).resolveSibling(name))
        .filter(Files::exists);
  }

  /** As {@code ./xenferry xe} starts it: one jar, and a cache of its classes. */
  private static List<String> client() throws IOException {
    List<String> options = new ArrayList<>(List.of("-XX:TieredStopAtLevel=1"));
    String classPath = classPath();
    String lib = System.getProperty("xenferry.lib");
    if (lib != null) {
      cache("xe.aot").ifPresent(cache -> options.add("-XX:AOTCache=" + cache));
      try (Stream<Path> jars = Files.list(Path.of(lib))) {
        classPath =
            jars.filter(f -> f.getFileName().toString().matches("xe-shim-.*\\.jar"))
                .findFirst()
                .map(Path::toString)
                .orElse(classPath);
      }
    }
    return Commands.concat(java(options, classPath), CLIENT);
  }

  /** Ends guests that were left, the server, and the target daemon that it leaves running. */
  @Override
  public void close() throws IOException, InterruptedException {
    if (process.isPresent()) {
      process.get().destroy();
      if (!process.get().waitFor(30, TimeUnit.SECONDS)) {
        process.get().destroyForcibly().waitFor(10, TimeUnit.SECONDS);
      }
    }
    Path guests = state().resolve("guests");
    if (Files.isDirectory(guests)) {
      try (Stream<Path> files = Files.walk(guests, 2)) {
        for (Path file : files.filter(f -> f.endsWith("pid")).toList()) {
          end(Files.readString(file).strip(), file.toString());
        }
      }
    }
    Path note = state().resolve("tgtd").resolve("tgtd.properties");
    if (Files.exists(note)) {
      for (String line : Files.readAllLines(note)) {
        if (line.startsWith("pid=")) {
          end(line.substring("pid=".length()), "tgtd");
        }
      }
    }
  }

  /** Ends a process, if it is still the one whose command line holds this. */
  private static void end(String pid, String part) {
    try {
      if (Files.readString(Path.of("/proc", pid, "cmdline"), StandardCharsets.ISO_8859_1)
          .contains(part)) {
        ProcessHandle.of(Long.parseLong(pid)).ifPresent(ProcessHandle::destroyForcibly);
      }
    } catch (IOException | NumberFormatException e) {
      // Gone already.
      return;
    }
  }
}
