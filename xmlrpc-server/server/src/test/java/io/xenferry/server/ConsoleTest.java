package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.XenApiException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Text consoles, with simulated guests that echo. */
class ConsoleTest {
  private static TestServer server;
  private static TestServer.Calls root;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static String started(String name) throws XenApiException {
    String vm = root.vm(name, Map.of());
    root.call("VM.start", vm, false, false);
    return vm;
  }

  private static String location(String vm) throws XenApiException {
    String console = TestServer.texts(root.call("VM.get_consoles", vm)).getFirst();
    assertThat(root.text("console.get_protocol", console)).isEqualTo("vt100");
    assertThat(root.text("console.get_VM", console)).isEqualTo(vm);
    return root.text("console.get_location", console);
  }

  @Test
  void bytesPassBothWays() throws Exception {
    String vm = started("talks");
    try (Connect console = Connect.to(server, location(vm), root.session())) {
      assertThat(console.status).isEqualTo("200");
      assertThat(console.readUntil("console of talks")).endsWith("console of talks");
      console.type("hello");
      assertThat(console.readUntil("hello")).endsWith("hello");
    }
    root.call("VM.hard_shutdown", vm);
    assertThat(TestServer.texts(root.call("VM.get_consoles", vm))).isEmpty();
  }

  @Test
  void theNewestClientHasTheConsole() throws Exception {
    String vm = started("taken");
    try (Connect first = Connect.to(server, location(vm), root.session())) {
      first.readUntil("console of taken");
      try (Connect second = Connect.to(server, location(vm), root.session())) {
        assertThat(second.readUntil("console of taken")).endsWith("taken");
        assertThat(first.ends()).isTrue();
        second.type("still here");
        assertThat(second.readUntil("still here")).endsWith("still here");
      }
    }
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void itEndsWithTheGuest() throws Exception {
    String vm = started("mortal");
    try (Connect console = Connect.to(server, location(vm), root.session())) {
      console.readUntil("console of mortal");
      root.call("VM.hard_shutdown", vm);
      assertThat(console.ends()).isTrue();
    }
  }

  @Test
  void nobodyElseSeesIt() throws Exception {
    String vm = started("private");
    String location = location(vm);
    String path = Connect.path(location);
    assertThat(status(path)).isEqualTo("401");
    assertThat(status(path + "&session_id=OpaqueRef:none")).isEqualTo("401");
    String session = "session_id=" + root.session();
    assertThat(status("/console?uuid=none&" + session)).isEqualTo("404");
    assertThat(status("/console?" + session)).isEqualTo("404");
    assertThat(status("/other?uuid=none&" + session)).isEqualTo("403");
    assertThat(status("/console?ref=" + vm + "&" + session)).as("no screen").isEqualTo("404");
    assertThat(status(path, "Cookie: a=b; " + session)).isEqualTo("200");
    assertThat(status(path, "Authorization: Basic " + base64("root:wrong"))).isEqualTo("401");
    assertThat(status(path, "Authorization: Basic !")).isEqualTo("401");
    for (String scheme : new String[] {"Basic", "basic", "BASIC "}) {
      String login = base64("root:" + server.password);
      assertThat(status(path, "Authorization: " + scheme + " " + login)).isEqualTo("200");
    }
    root.call("VM.hard_shutdown", vm);
    assertThat(status(path + "&" + session)).isEqualTo("404");
  }

  private static String base64(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }

  private static String status(String path, String... headers) throws Exception {
    try (Connect console = new Connect(server, path, headers)) {
      return console.status;
    }
  }
}
