package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.server.call.Registry;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** docs/COVERAGE.md is what the registry says, and every test it names exists. */
class CoverageTest {
  private static TestServer server;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  @Test
  void theTableIsUpToDate() throws Exception {
    Path file = root().resolve("docs/COVERAGE.md");
    String table = table();
    if (Boolean.getBoolean("xenferry.write-coverage")) {
      Files.createDirectories(file.getParent());
      Files.writeString(file, table);
    }
    assertThat(Files.exists(file) ? Files.readString(file) : "")
        .as("docs/COVERAGE.md; -Dxenferry.write-coverage=true writes it")
        .isEqualTo(table);
  }

  @Test
  void everyTestThatTheTableNamesExists() throws Exception {
    for (ClassDef c : DataModel.classes()) {
      for (MessageDef m : c.messages()) {
        if (entry(m) instanceof Registry.Implemented i) {
          assertThat(exists(i.test())).as(m.wireName() + ": " + i.test()).isTrue();
        }
      }
    }
  }

  @Test
  void thereAreNoAlerts() throws Exception {
    TestServer.Calls calls = server.calls();
    assertThat(TestServer.texts(calls.call("message.get_all"))).isEmpty();
    assertThat(calls.call("message.get_all_records")).isEqualTo(TestServer.value(Map.of()));
    SessionTest.assertCode("HANDLE_INVALID", () -> calls.call("message.get_record", "OpaqueRef:x"));
    SessionTest.assertCode("UUID_INVALID", () -> calls.call("message.get_by_uuid", "x"));
  }

  @Test
  void whatIsRefusedSaysSo() throws Exception {
    TestServer.Calls calls = server.calls();
    assertThat(
            SessionTest.assertCode("NOT_IMPLEMENTED", () -> calls.call("pool.disable_ha")).params())
        .containsExactly("pool.disable_ha");
    String host = calls.only("host");
    SessionTest.assertCode("MESSAGE_REMOVED", () -> calls.call("host.reset_cpu_features", host));
  }

  private static Registry.Entry entry(MessageDef m) {
    return server.server.dispatcher().registry().entry(m);
  }

  private static String table() {
    StringBuilder b = new StringBuilder();
    b.append("# Which calls do what\n\n");
    b.append("Generated from the server's registry and checked by CoverageTest.\n\n");
    b.append("- *generic*: accessors, constructors and queries that follow from the fields.\n");
    b.append("- A test's name: code of its own, which that test shows.\n");
    b.append("- A code in capitals: refused with it.\n\n");
    b.append("| class | generic | own code | refused |\n|---|---|---|---|\n");
    StringBuilder details = new StringBuilder();
    for (ClassDef c : DataModel.classes()) {
      int generic = 0;
      int own = 0;
      int refused = 0;
      details.append("\n## ").append(c.name()).append("\n\n");
      StringBuilder rows = new StringBuilder();
      for (MessageDef m : c.messages()) {
        switch (entry(m)) {
          case Registry.Generic g -> {
            generic++;
            if (!m.generated()) {
              rows.append("| ").append(m.name()).append(" | generic |\n");
            }
          }
          case Registry.Implemented i -> {
            own++;
            rows.append("| ").append(m.name()).append(" | ").append(i.test()).append(" |\n");
          }
          case Registry.Refused r -> {
            refused++;
            rows.append("| ").append(m.name()).append(" | ").append(r.code()).append(" |\n");
          }
        }
      }
      b.append("| ").append(c.name()).append(" | ").append(generic).append(" | ").append(own);
      b.append(" | ").append(refused).append(" |\n");
      if (rows.isEmpty()) {
        details.append("All generic.\n");
      } else {
        details.append("| message | |\n|---|---|\n").append(rows);
      }
    }
    return b.append(details).toString();
  }

  /** Here by reflection, in other modules by their sources. */
  private static boolean exists(String test) throws IOException {
    String className = test.substring(0, test.indexOf('.'));
    String method = test.substring(test.indexOf('.') + 1);
    try {
      return Arrays.stream(Class.forName("io.xenferry.server." + className).getDeclaredMethods())
          .map(Method::getName)
          .anyMatch(method::equals);
    } catch (ClassNotFoundException e) {
      try (Stream<Path> files = Files.walk(root())) {
        Optional<Path> source =
            files.filter(p -> p.getFileName().toString().equals(className + ".java")).findFirst();
        return source.isPresent()
            && Files.readAllLines(source.get()).stream()
                .anyMatch(l -> l.contains("void " + method + "("));
      }
    }
  }

  /** Where the launcher script is. */
  private static Path root() {
    Path p = Path.of("").toAbsolutePath();
    while (!Files.exists(p.resolve("xenferry")) || !Files.exists(p.resolve("LICENSE"))) {
      p = p.resolve("..").normalize();
    }
    return p;
  }
}
