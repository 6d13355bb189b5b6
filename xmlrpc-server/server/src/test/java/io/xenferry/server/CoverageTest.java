package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.server.call.Registry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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
  void everyTestThatTheTableNamesExistsAndCallsIt() throws Exception {
    for (ClassDef c : DataModel.classes()) {
      for (MessageDef m : c.messages()) {
        if (entry(m) instanceof Registry.Implemented i) {
          assertThat(calls(i.test(), m.wireName()))
              .as(m.wireName() + ": " + i.test() + " exists, and its class has a call of it")
              .isTrue();
        }
      }
    }
  }

  @Test
  void whatIsRefusedSaysSo() throws Exception {
    TestServer.Calls calls = server.calls();
    assertThat(
            SessionTest.assertCode(
                    "NOT_IMPLEMENTED", () -> calls.call("pool.disable_binary_storage"))
                .params())
        .containsExactly("pool.disable_binary_storage");
    assertThat(
            SessionTest.assertCode(
                    "NOT_IMPLEMENTED",
                    () -> calls.call("VM.set_PV_bootloader", "OpaqueRef:x", "pygrub"))
                .params())
        .as("it would only be stored")
        .containsExactly("VM.set_PV_bootloader");
    SessionTest.assertCode(
        "AUTH_IS_DISABLED", () -> calls.call("auth.get_subject_identifier", "somebody"));
    SessionTest.assertCode("NOT_IMPLEMENTED", () -> calls.call("user.create", Map.of()));
    String host = calls.only("host");
    SessionTest.assertCode("MESSAGE_REMOVED", () -> calls.call("host.reset_cpu_features", host));
    // Whatever its arguments are; but only those who have a session are told.
    SessionTest.assertCode(
        "MESSAGE_REMOVED", () -> calls.call("host.reset_cpu_features", List.of("nonsense")));
    SessionTest.assertCode("NOT_IMPLEMENTED", () -> calls.call("user.create", "nonsense"));
    TestServer.Calls nobody = new TestServer.Calls(server.api, "OpaqueRef:none");
    SessionTest.assertCode("SESSION_INVALID", () -> nobody.call("user.create", "nonsense"));
    SessionTest.assertCode(
        "SESSION_INVALID", () -> nobody.call("host.reset_cpu_features", List.of("nonsense")));
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
    b.append("What *generic* setters, adders and removers store is all that they do: words and");
    b.append(" maps that\nclients keep for themselves, settings that the server reads when it");
    b.append(" needs them. Each class lists\nits own, and those constructors that only make a");
    b.append(" row. A setting that ought to act on a guest, a\ndisk, the network or the host is");
    b.append(" refused until it does.\n\n");
    b.append("| class | generic | own code | refused |\n|---|---|---|---|\n");
    StringBuilder details = new StringBuilder();
    for (ClassDef c : DataModel.classes()) {
      int generic = 0;
      int own = 0;
      int refused = 0;
      details.append("\n## ").append(c.name()).append("\n\n");
      StringBuilder rows = new StringBuilder();
      List<String> stored = new ArrayList<>();
      for (MessageDef m : c.messages()) {
        switch (entry(m)) {
          case Registry.Generic g -> {
            generic++;
            if (stores(m)) {
              stored.add(m.name());
            }
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
      if (!stored.isEmpty()) {
        details.append("Only stored: ").append(String.join(", ", stored)).append("\n\n");
      }
      if (rows.isEmpty()) {
        details.append("All generic.\n");
      } else {
        details.append("| message | |\n|---|---|\n").append(rows);
      }
    }
    return b.append(details).toString();
  }

  private static boolean stores(MessageDef m) {
    MessageDef.Kind kind = DataModel.kindOf(m);
    return switch (kind) {
      case SET, ADD, REMOVE, CREATE -> true;
      default -> false;
    };
  }

  /** By the sources: the test's class has the method, and it or the common client the call. */
  private static boolean calls(String test, String wireName) throws IOException {
    String className = test.substring(0, test.indexOf('.'));
    String method = test.substring(test.indexOf('.') + 1);
    String source = source(className);
    String call = '"' + wireName + '"';
    return source.contains("void " + method + "(")
        && (source.contains(call) || source("TestServer").contains(call));
  }

  private static String source(String className) throws IOException {
    try (Stream<Path> files = Files.walk(root().resolve("xmlrpc-server"))) {
      Optional<Path> found =
          files.filter(p -> p.getFileName().toString().equals(className + ".java")).findFirst();
      return found.isPresent() ? Files.readString(found.get()) : "";
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
