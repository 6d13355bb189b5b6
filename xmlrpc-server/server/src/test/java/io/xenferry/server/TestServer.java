package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.DatabaseChecker;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.SimulatedLauncher;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.server.config.ListenConfig;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.config.SessionConfig;
import io.xenferry.server.config.ToolstackConfig;
import io.xenferry.server.migration.Decorators;
import io.xenferry.server.session.Accounts;
import io.xenferry.server.session.HostAccounts;
import io.xenferry.spi.Guest;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.XenApi;
import io.xenferry.wire.Trust;
import io.xenferry.wire.XmlRpcXenApi;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** A server on loopback ports of the system's choice, and a client of it. */
final class TestServer implements AutoCloseable {
  private static Path certificate;

  final Path directory;
  final String address;
  private final int port;
  final XenFerryServer server;
  final XmlRpcXenApi api;
  final String password;
  private final UnaryOperator<ServerConfig> change;

  static TestServer start() throws Exception {
    return start(Files.createTempDirectory("xenferry"), MemoryDatabase.create(), limits());
  }

  /** A host that knows other people. */
  static TestServer startWith(Accounts accounts) throws Exception {
    return new TestServer(
        Files.createTempDirectory("xenferry"),
        MemoryDatabase.create(),
        limits(),
        "127.0.0.1",
        config -> config,
        accounts,
        Decorators.none());
  }

  /** Another host, whose migrations somebody watches. */
  static TestServer startAt(String address, Decorators decorators) throws Exception {
    return new TestServer(
        Files.createTempDirectory("xenferry"),
        MemoryDatabase.create(),
        limits(),
        address,
        config -> config,
        new HostAccounts(Optional.empty()),
        decorators);
  }

  static LimitsConfig limits() {
    return limits(Duration.ofSeconds(20));
  }

  static LimitsConfig limits(Duration idleTimeout) {
    return new LimitsConfig(
        300 * 1024,
        200 * 1024,
        200,
        200,
        idleTimeout,
        Duration.ofSeconds(30),
        Duration.ofSeconds(20));
  }

  static TestServer start(Path directory, ObjectDatabase db, LimitsConfig limits) throws Exception {
    return new TestServer(directory, db, limits, "127.0.0.1", config -> config);
  }

  /** Another host, with a loopback address of its own. */
  static TestServer startAt(String address) throws Exception {
    return startAt(address, config -> config);
  }

  /** Opens a database that a server before has closed. */
  interface Reopened {
    ObjectDatabase open() throws Exception;
  }

  /** The same host with a new server, at the same port: its peers know no other. */
  TestServer again(Reopened db) throws Exception {
    stop();
    return new TestServer(
        directory,
        db.open(),
        limits(),
        address,
        config ->
            change
                .apply(config)
                .with(
                    new ListenConfig(
                        address,
                        port,
                        OptionalInt.of(0),
                        Optional.of(directory.resolve("socket")))));
  }

  static TestServer startAt(String address, Path directory, ObjectDatabase db) throws Exception {
    return new TestServer(directory, db, limits(), address, config -> config);
  }

  /** The same, configured otherwise. */
  static TestServer startAt(
      String address, Path directory, ObjectDatabase db, UnaryOperator<ServerConfig> change)
      throws Exception {
    return new TestServer(directory, db, limits(), address, change);
  }

  /** The same, configured otherwise. */
  static TestServer startAt(String address, UnaryOperator<ServerConfig> change) throws Exception {
    return new TestServer(
        Files.createTempDirectory("xenferry"), MemoryDatabase.create(), limits(), address, change);
  }

  private TestServer(
      Path directory,
      ObjectDatabase db,
      LimitsConfig limits,
      String address,
      UnaryOperator<ServerConfig> change)
      throws Exception {
    this(
        directory,
        db,
        limits,
        address,
        change,
        new HostAccounts(Optional.empty()),
        Decorators.none());
  }

  private TestServer(
      Path directory,
      ObjectDatabase db,
      LimitsConfig limits,
      String address,
      UnaryOperator<ServerConfig> change,
      Accounts accounts,
      Decorators decorators)
      throws Exception {
    this.directory = directory;
    this.address = address;
    this.change = change;
    if (certificate != null && !Files.exists(directory.resolve("server.p12"))) {
      Files.copy(certificate, directory.resolve("server.p12"));
    }
    SessionConfig sessions =
        new SessionConfig(
            Duration.ofHours(1), Duration.ofMinutes(10), 20, 400, Duration.ofMillis(50), 1000);
    ServerConfig config =
        ServerConfig.defaults(directory)
            .with(
                new ListenConfig(
                    address, 0, OptionalInt.of(0), Optional.of(directory.resolve("socket"))))
            .with(limits)
            .with(sessions)
            .with(ToolstackConfig.defaults().withTargets(ToolstackConfig.Targets.EMBEDDED));
    server = new XenFerryServer(change.apply(config), db, Clock.systemUTC(), decorators, accounts);
    this.port = server.port();
    if (certificate == null) {
      certificate = Files.createTempFile("xenferry", ".p12");
      certificate.toFile().deleteOnExit();
      Files.copy(
          directory.resolve("server.p12"),
          certificate,
          java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    }
    password = Files.readString(directory.resolve("root-password")).strip();
    api =
        new XmlRpcXenApi(
            URI.create("https://" + address + ":" + server.port()),
            Trust.pinned(server.fingerprint()),
            Duration.ofSeconds(30));
  }

  int httpPort() {
    return server.httpPort().getAsInt();
  }

  /** A session of root. */
  String login() throws XenApiException {
    return text(api.call("session.login_with_password", Value.of("root"), Value.of(password)));
  }

  /** The first session of a test class, with calls that leave it out. */
  Calls calls() throws XenApiException {
    return new Calls(api, login());
  }

  record Calls(XenApi api, String session) {
    Value call(String method, Object... args) throws XenApiException {
      List<Value> params = new ArrayList<>();
      params.add(Value.of(session));
      Arrays.stream(args).map(TestServer::value).forEach(params::add);
      return api.call(method, params);
    }

    String text(String method, Object... args) throws XenApiException {
      return TestServer.text(call(method, args));
    }

    /** A token for one move to this host. */
    Value token() throws XenApiException {
      return call("host.migrate_receive", only("host"), only("network"), Map.of());
    }

    /** An SR of type file in a directory of its own, attached. */
    String sr(Path location) throws XenApiException {
      return sr("file", Map.of("location", location.toString()));
    }

    /** The same, of qcow2 images. */
    String layeredSr(Path location) throws XenApiException {
      return sr("file", Map.of("location", location.toString(), "image-format", "qcow2"));
    }

    /** An SR in memory with room for so many bytes. */
    String memorySr(long capacity) throws XenApiException {
      return sr("memory", Map.of("capacity", Long.toString(capacity)));
    }

    private String sr(String type, Map<String, String> config) throws XenApiException {
      return text("SR.create", only("host"), config, 0, "disks", "", type, "user", false, Map.of());
    }

    String vdi(String sr, String name, long size) throws XenApiException {
      return text(
          "VDI.create",
          RecordsTest.required(
              "VDI", Map.of("name_label", name, "SR", sr, "virtual_size", size, "type", "user")));
    }

    /** A VM with a simulated guest, 1 vCPU. */
    String vm(String name, Map<String, String> platform) throws XenApiException {
      return text(
          "VM.create",
          RecordsTest.required(
              "VM",
              Map.of(
                  "name_label",
                  name,
                  "VCPUs_max",
                  1,
                  "VCPUs_at_startup",
                  1,
                  "memory_static_max",
                  64L << 20,
                  "memory_dynamic_max",
                  64L << 20,
                  "memory_dynamic_min",
                  64L << 20,
                  "actions_after_shutdown",
                  "destroy",
                  "platform",
                  platform)));
    }

    void vbd(String vm, String vdi, int number) throws XenApiException {
      call(
          "VBD.create",
          RecordsTest.required(
              "VBD",
              Map.of(
                  "VM",
                  vm,
                  "VDI",
                  vdi,
                  "userdevice",
                  Integer.toString(number),
                  "mode",
                  "RW",
                  "type",
                  "Disk",
                  "bootable",
                  true,
                  "empty",
                  false)));
    }

    Map<String, Value> record(String className, String ref) throws XenApiException {
      return ((Value.Struct) call(className + ".get_record", ref)).members();
    }

    List<String> all(String className) throws XenApiException {
      return texts(call(className + ".get_all"));
    }

    String only(String className) throws XenApiException {
      return TestServer.texts(call(className + ".get_all")).getFirst();
    }
  }

  static Value value(Object o) {
    return switch (o) {
      case Value v -> v;
      case String s -> Value.of(s);
      case Integer i -> Value.of((long) i);
      case Long l -> Value.of((long) l);
      case Double d -> Value.of((double) d);
      case Boolean b -> Value.of((boolean) b);
      case List<?> l -> new Value.Array(l.stream().map(TestServer::value).toList());
      case Map<?, ?> m -> {
        java.util.SequencedMap<String, Value> members = new java.util.LinkedHashMap<>();
        m.forEach((k, v) -> members.put((String) k, value(v)));
        yield new Value.Struct(members);
      }
      default -> throw new IllegalArgumentException(o.toString());
    };
  }

  static String text(Value v) {
    return ((Value.Text) v).text();
  }

  static List<String> texts(Value v) {
    return ((Value.Array) v).items().stream().map(TestServer::text).toList();
  }

  static Value member(Value v, String name) {
    return ((Value.Struct) v).members().get(name);
  }

  @Override
  public void close() throws IOException {
    api.close();
    List<DatabaseChecker.Finding> faults = DatabaseChecker.check(server.context().db().snapshot());
    server.close();
    destroyGuests();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path p : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(p);
      }
    }
    assertThat(faults).as("what is wrong with the database").isEmpty();
  }

  /** By what the guest of a VM knows its disks again, as its process was told. */
  List<String> serials(String vm) throws IOException {
    return guest(vm).path("disks").findValuesAsText("serial");
  }

  /** What the driver has noted of a VM's guest. */
  JsonNode guest(String vm) throws IOException {
    Path spec = directory.resolve("guests").resolve(vm).resolve("spec.json");
    return new ObjectMapper().readTree(spec.toFile());
  }

  /** Guests outlive their server, but neither the test nor the power of the host. */
  void destroyGuests() {
    Path guests = directory.resolve("guests");
    if (!Files.exists(guests)) {
      return;
    }
    try (QemuHypervisor last = new QemuHypervisor(SimulatedLauncher.ofThisJvm(), guests)) {
      for (Guest guest : last.guests()) {
        guest.destroy();
      }
    } catch (HypervisorException e) {
      throw new IllegalStateException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Ends the server and leaves its directory. */
  void stop() throws IOException {
    api.close();
    server.close();
  }
}
