package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.migration.Decorators;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import io.xenferry.wire.XmlRpcXenApi;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.StandardProtocolFamily;
import java.net.URI;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** The server as a process: started, killed, started again, stopped in order. */
class ServerMainTest {
  private static final Pattern READY =
      Pattern.compile("ready port=([0-9]+) fingerprint=([0-9A-F:]{95})\n");

  @Test
  void survivesAKillAndStopsInOrder(@TempDir Path directory) throws Exception {
    Process first = start(directory);
    String network;
    try {
      try (XmlRpcXenApi api = connect(directory, first)) {
        network =
            new TestServer.Calls(api, login(api, directory))
                .text("network.create", RecordsTest.network("survivor"));
      }
    } finally {
      first.destroyForcibly().waitFor();
    }
    Files.delete(directory.resolve("ready"));
    List<Path> unpacked = contents(directory.resolve("tmp"));
    assertThat(unpacked).as("the library that SQLite's driver unpacks").isNotEmpty();
    Process second = start(directory);
    try (XmlRpcXenApi api = connect(directory, second)) {
      assertThat(contents(directory.resolve("tmp"))).doesNotContainAnyElementsOf(unpacked);
      TestServer.Calls root = new TestServer.Calls(api, login(api, directory));
      assertThat(root.text("network.get_name_label", network)).isEqualTo("survivor");
      root.vdi(root.sr(directory.resolve("sr")), "disk", 1 << 20);
      root.call("VM.start", root.vm("guest", java.util.Map.of()), false, false);
      assertThat(readableByOthers(directory)).isEmpty();
      root.call("VM.hard_shutdown", root.text("VM.get_by_uuid", guest(root)));
      second.destroy();
      assertThat(second.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(Files.exists(directory.resolve("ready"))).isFalse();
    } finally {
      second.destroyForcibly().waitFor();
    }
  }

  @Test
  void whatAKilledServerHasLeftPassesTheCheckUntilSomethingIsWrong(@TempDir Path directory)
      throws Exception {
    Process server = start(directory);
    String network;
    try (XmlRpcXenApi api = connect(directory, server)) {
      network =
          new TestServer.Calls(api, login(api, directory))
              .text("network.create", RecordsTest.network("x"));
      assertThat(check(directory)).isEqualTo("1 A server runs on " + directory + "\n");
    } finally {
      server.destroyForcibly().waitFor();
    }
    byte[] before = Files.readAllBytes(directory.resolve("pool.db-wal"));
    assertThat(check(directory)).isEqualTo("0 nothing is wrong\n");
    assertThat(directory.resolve("pool.db-wal")).as("left as it was").hasBinaryContent(before);
    try (Connection sql =
            DriverManager.getConnection("jdbc:sqlite:" + directory.resolve("pool.db"));
        Statement statement = sql.createStatement()) {
      statement.execute(
          "UPDATE object SET fields = json_set(fields, '$.uuid', 'same') WHERE class = 'network'");
    }
    assertThat(check(directory))
        .startsWith("1 pool.db: DUPLICATE_UUID network ")
        .contains("uuid: same has OpaqueRef:");
    assertThat(network).isNotEmpty();
  }

  private static String check(Path directory) throws Exception {
    Path said = Files.createTempFile("xenferry", ".check");
    try {
      Process check =
          builder(directory, "--check-db")
              .redirectErrorStream(true)
              .redirectOutput(said.toFile())
              .start();
      assertThat(check.waitFor(90, TimeUnit.SECONDS)).isTrue();
      return check.exitValue() + " " + Files.readString(said);
    } finally {
      Files.delete(said);
    }
  }

  @Test
  void removesNeitherAFileNorALiveSocketAtItsUnixSocketsPlace(@TempDir Path directory)
      throws Exception {
    Path place = Files.createTempDirectory("xf").resolve("socket");
    Files.writeString(place, "precious");
    Process refused = start(directory, "--unix-socket=" + place);
    assertThat(refused.waitFor(90, TimeUnit.SECONDS)).isTrue();
    assertThat(refused.exitValue()).isEqualTo(1);
    assertThat(place).hasContent("precious");
    Files.delete(place);
    try (ServerSocketChannel other = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      other.bind(UnixDomainSocketAddress.of(place));
      Process second = start(directory, "--unix-socket=" + place);
      assertThat(second.waitFor(90, TimeUnit.SECONDS)).isTrue();
      assertThat(second.exitValue()).isEqualTo(1);
    }
    assertThat(Files.exists(place)).as("nobody listens there any more").isTrue();
    Process third = start(directory, "--unix-socket=" + place);
    try (XmlRpcXenApi api = connect(directory, third)) {
      assertThat(login(api, directory)).isNotEmpty();
    } finally {
      third.destroyForcibly().waitFor();
      Files.deleteIfExists(place);
      Files.delete(place.getParent());
    }
  }

  /** The door tells the version in a property. */
  @Test
  void itsVersionIsTold() {
    StringWriter out = new StringWriter();
    CommandLine server = new CommandLine(new ServerMain(Decorators.none()));
    server.setOut(new PrintWriter(out, true));
    assertThat(server.execute("--version")).isZero();
    assertThat(out.toString().strip())
        .isEqualTo("XenFerry " + System.getProperty("xenferry.version", "of an unknown version"));
  }

  /** The directory is not even made: nothing has begun that would have to be ended. */
  @Test
  void anUnknownHypervisorIsRefusedAtFirst(@TempDir Path directory) throws Exception {
    Path state = directory.resolve("state");
    Process refused = start(state, "--hypervisor=foo", "--target=auto");
    assertThat(refused.waitFor(90, TimeUnit.SECONDS)).isTrue();
    assertThat(refused.exitValue()).isEqualTo(2);
    assertThat(state).doesNotExist();
  }

  /** Neither while all is put together nor later; and tgtd would outlive the server. */
  @Test
  void aStartThatFailsSaysWhyAndEndsWhatItHasBegun(@TempDir Path directory) throws Exception {
    Path state = directory.resolve("state");
    String socket = directory.resolve("missing/socket").toString();
    assertThat(failure(state, "--target=auto", "--unix-socket=" + socket))
        .contains("cannot listen at " + socket);
    awaitNoProcess(state);
    Files.delete(state.resolve("nbds"));
    Files.writeString(state.resolve("nbds"), "no directory");
    assertThat(failure(state, "--target=auto")).contains("nbds");
    awaitNoProcess(state);
    Files.delete(state.resolve("nbds"));
    Files.writeString(state.resolve("server.p12"), "no key store");
    assertThat(failure(state)).contains("server.p12 cannot be read");
  }

  @ParameterizedTest
  @ValueSource(strings = {"224.0.0.1", "255.255.255.255", ""})
  void whatIsNoAddressIsRefusedBeforeAnythingIsMade(String address, @TempDir Path directory)
      throws Exception {
    Path state = directory.resolve("state");
    assertThat(failure(state, "--listen=" + address)).contains("--listen");
    assertThat(state).doesNotExist();
  }

  private static String failure(Path state, String... options) throws Exception {
    Path errors = state.resolveSibling("errors");
    Process refused = builder(state, options).redirectError(errors.toFile()).start();
    assertThat(refused.waitFor(90, TimeUnit.SECONDS)).isTrue();
    assertThat(refused.exitValue()).isEqualTo(1);
    return Files.readString(errors);
  }

  /** Processes that write what they say into a file below the directory, as tgtd does. */
  private static void awaitNoProcess(Path directory) {
    await()
        .atMost(Duration.ofSeconds(60))
        .untilAsserted(() -> assertThat(processes(directory)).isEmpty());
  }

  private static List<Path> processes(Path directory) throws IOException {
    List<Path> found = new ArrayList<>();
    try (Stream<Path> all = Files.list(Path.of("/proc"))) {
      for (Path process : all.filter(p -> p.toString().matches("/proc/[0-9]+")).toList()) {
        try {
          if (Files.readSymbolicLink(process.resolve("fd/1")).startsWith(directory)) {
            found.add(process);
          }
        } catch (IOException e) {
          // It has ended meanwhile, or is somebody else's.
        }
      }
    }
    return found;
  }

  /** Clients note what was answered; whatever that is, the next server has it, task and all. */
  @Test
  void whatWasAnsweredSurvivesAKillInTheMiddleOfWriting(@TempDir Path directory) throws Exception {
    Queue<String> answered = new ConcurrentLinkedQueue<>();
    Queue<String> tasks = new ConcurrentLinkedQueue<>();
    Process first = start(directory);
    List<Thread> clients = new ArrayList<>();
    try (XmlRpcXenApi api = connect(directory, first)) {
      TestServer.Calls root = new TestServer.Calls(api, login(api, directory));
      for (int i = 0; i < 4; i++) {
        String name = "client " + i;
        clients.add(Thread.ofVirtual().start(() -> write(root, name, answered, tasks)));
      }
      await().atMost(Duration.ofSeconds(90)).until(() -> answered.size() >= 60);
      first.destroyForcibly().waitFor();
      for (Thread client : clients) {
        client.join();
      }
    } finally {
      first.destroyForcibly().waitFor();
    }
    Files.delete(directory.resolve("ready"));
    Process second = start(directory);
    try (XmlRpcXenApi api = connect(directory, second)) {
      TestServer.Calls root = new TestServer.Calls(api, login(api, directory));
      for (String network : answered) {
        assertThat(root.text("network.get_name_description", network))
            .as("the setter's answer came, too")
            .isEqualTo("changed");
      }
      for (String task : tasks) {
        assertThat(root.text("task.get_name_label", task)).isEqualTo("kept");
        assertThat(root.text("task.get_status", task))
            .as("a task whose server died is told to have failed")
            .isEqualTo("failure");
      }
    } finally {
      second.destroyForcibly().waitFor();
    }
  }

  private static void write(
      TestServer.Calls root, String name, Queue<String> answered, Queue<String> tasks) {
    try {
      while (true) {
        String network = root.text("network.create", RecordsTest.network(name));
        root.call("network.set_name_description", network, "changed");
        answered.add(network);
        tasks.add(root.text("task.create", "kept", ""));
      }
    } catch (XenApiException killed) {
      // As it must be: the server dies under every client.
      assertThat(killed).isNotNull();
    }
  }

  private static Process start(Path directory, String... options) throws Exception {
    return builder(directory, options).start();
  }

  private static ProcessBuilder builder(Path directory, String... options) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                ServerMain.class.getName(),
                "--state-dir=" + directory,
                "--port=0"));
    command.addAll(List.of(options));
    // A killed server leaves its tgtd to the next one; here no next one need come.
    for (String usual : List.of("--target=embedded", "--hypervisor=simulated")) {
      String name = usual.substring(0, usual.indexOf('=') + 1);
      if (Stream.of(options).noneMatch(option -> option.startsWith(name))) {
        command.add(usual);
      }
    }
    return new ProcessBuilder(command)
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD);
  }

  private static XmlRpcXenApi connect(Path directory, Process process) throws Exception {
    Path ready = directory.resolve("ready");
    await().atMost(Duration.ofSeconds(90)).until(() -> Files.exists(ready) || !process.isAlive());
    Matcher m = READY.matcher(Files.readString(ready));
    assertThat(m.matches()).isTrue();
    return new XmlRpcXenApi(
        URI.create("https://127.0.0.1:" + m.group(1)),
        Trust.pinned(new Fingerprint(m.group(2))),
        Duration.ofSeconds(30));
  }

  private static String guest(TestServer.Calls root) throws Exception {
    String vm = TestServer.texts(root.call("VM.get_by_name_label", "guest")).getFirst();
    return root.text("VM.get_uuid", vm);
  }

  private static List<Path> readableByOthers(Path directory) throws IOException {
    List<Path> wrong = new ArrayList<>();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.toList()) {
        if (!PosixFilePermissions.toString(
                Files.getPosixFilePermissions(file, LinkOption.NOFOLLOW_LINKS))
            .endsWith("------")) {
          wrong.add(file);
        }
      }
    }
    return wrong;
  }

  private static List<Path> contents(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }

  private static String login(XmlRpcXenApi api, Path directory) throws Exception {
    String password = Files.readString(directory.resolve("root-password")).strip();
    return TestServer.text(
        api.call("session.login_with_password", Value.of("root"), Value.of(password)));
  }
}
