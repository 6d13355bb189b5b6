package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.server.config.PluginConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Programs of the administrator's that clients call. */
class PluginTest {
  private static final String ANSWER =
      "<methodResponse><params><param><value><struct><member><name>Status</name><value>%s</value>"
          + "</member><member><name>%s</name><value>%s</value></member></struct></value></param>"
          + "</params></methodResponse>";

  @TempDir private static Path plugins;

  private static TestServer server;
  private static TestServer.Calls root;
  private static String host;

  @BeforeAll
  static void start() throws Exception {
    server =
        TestServer.startAt(
            "127.0.0.1",
            config -> config.with(new PluginConfig(plugins, Duration.ofSeconds(2), 2, 4096)));
    root = server.calls();
    host = root.only("host");
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static void plugin(String name, String script) throws Exception {
    Path file = Files.writeString(plugins.resolve(name), "#!/bin/sh\n" + script + "\n");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private static String answering(String status, String member, String value) {
    return "printf '%s' '" + ANSWER.formatted(status, member, value) + "'";
  }

  private static List<String> failure(String plugin) {
    return assertCode(
            "XENAPI_PLUGIN_FAILURE",
            () -> root.call("host.call_plugin", host, plugin, "f", Map.of()))
        .params();
  }

  @Test
  void aPluginIsRunAndAnswers() throws Exception {
    plugin(
        "echo.py",
        "printf '%s' \"$1\" > \"$0.call\"; [ $# = 1 ] || exit 1; "
            + answering("Success", "Value", "fine &amp; well"));
    assertThat(
            root.text(
                "host.call_plugin", host, "echo.py", "do_it", Map.of("where", "ä <here> & $HOME")))
        .isEqualTo("fine & well");
    String call = Files.readString(plugins.resolve("echo.py.call"));
    assertThat(call)
        .contains("<methodName>do_it</methodName>")
        .contains("<value>" + root.session() + "</value>")
        .contains("<name>where</name><value>&#228; &lt;here&gt; &amp; $HOME</value>");
  }

  @Test
  void whatItComplainsOfIsTold() throws Exception {
    plugin(
        "refuses",
        answering(
            "Failure",
            "ErrorDescription",
            "<array><data><value>MY_CODE</value><value>because</value></data></array>"));
    assertThat(
            assertCode(
                    "MY_CODE", () -> root.call("host.call_plugin", host, "refuses", "f", Map.of()))
                .params())
        .containsExactly("because");
    plugin("fails", "echo half; echo broken >&2; exit 3");
    assertThat(failure("fails")).containsExactly("non-zero exit", "half", "broken");
    plugin("babbles", "echo hello");
    assertThat(failure("babbles")).containsExactly("its answer is none", "hello", "");
    plugin("floods", "head -c 100000 /dev/zero | tr '\\0' x");
    assertThat(failure("floods").getFirst()).isEqualTo("its answer is too long");
    plugin("hangs", "exec sleep 1000");
    assertThat(failure("hangs").getFirst()).isEqualTo("it does not end");
  }

  @Test
  void whatIsNotThereIsMissing() throws Exception {
    Files.writeString(plugins.resolve("no-program"), "");
    for (String name : List.of("none", "no-program", "", "..", ".", "../sh", "/bin/sh")) {
      assertThat(
              assertCode(
                      "XENAPI_MISSING_PLUGIN",
                      () -> root.call("host.call_plugin", host, name, "f", Map.of()))
                  .params())
          .containsExactly(name);
    }
    assertCode(
        "HANDLE_INVALID", () -> root.call("host.call_plugin", "nonsense", "none", "f", Map.of()));
    String vm = RecordsTest.vm(root, "without plug-ins");
    assertCode(
        "XENAPI_MISSING_PLUGIN",
        () -> root.call("VM.call_plugin", vm, "guest-agent-operation", "request-wol-on", Map.of()));
    assertThat(root.call("host.has_extension", host, "any")).isEqualTo(Value.of(false));
    assertThat(root.call("pool.has_extension", root.only("pool"), "any"))
        .isEqualTo(Value.of(false));
  }

  @Test
  void argumentsHaveALimit() throws Exception {
    plugin("takes-anything", answering("Success", "Value", "x"));
    Map<String, String> much = Map.of("much", "x".repeat(140_000));
    assertCode(
        "INVALID_VALUE", () -> root.call("host.call_plugin", host, "takes-anything", "f", much));
  }
}
