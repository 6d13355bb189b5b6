package io.xenferry.server;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.server.config.ListenConfig;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.config.SessionConfig;
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
import java.util.stream.Stream;

/** A server on loopback ports of the system's choice, and a client of it. */
final class TestServer implements AutoCloseable {
  private static Path certificate;

  final Path directory;
  final XenFerryServer server;
  final XmlRpcXenApi api;
  final String password;

  static TestServer start() throws Exception {
    return start(Files.createTempDirectory("xenferry"), MemoryDatabase.create(), limits());
  }

  static LimitsConfig limits() {
    return limits(Duration.ofSeconds(20));
  }

  static LimitsConfig limits(Duration idleTimeout) {
    return new LimitsConfig(300 * 1024, 200 * 1024, 200, idleTimeout, Duration.ofSeconds(20));
  }

  static TestServer start(Path directory, ObjectDatabase db, LimitsConfig limits)
      throws Exception {
    return new TestServer(directory, db, limits);
  }

  private TestServer(Path directory, ObjectDatabase db, LimitsConfig limits) throws Exception {
    this.directory = directory;
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
                    "127.0.0.1", 0, OptionalInt.of(0), Optional.of(directory.resolve("socket"))))
            .with(limits)
            .with(sessions);
    server = new XenFerryServer(config, db, Clock.systemUTC());
    if (certificate == null) {
      certificate = Files.createTempFile("xenferry", ".p12");
      Files.copy(
          directory.resolve("server.p12"),
          certificate,
          java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    }
    password = Files.readString(directory.resolve("root-password")).strip();
    api =
        new XmlRpcXenApi(
            URI.create("https://127.0.0.1:" + server.port()),
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
    server.close();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path p : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(p);
      }
    }
  }

  /** Ends the server and leaves its directory. */
  void stop() throws IOException {
    api.close();
    server.close();
  }
}
