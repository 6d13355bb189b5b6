package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What the server tells of itself. */
class DiagnosticsTest {

  private static Map<String, Value> members(Value map) {
    return ((Value.Struct) map).members();
  }

  private static long number(Value map, String key) {
    return Long.parseLong(TestServer.text(TestServer.member(map, key)));
  }

  @Test
  void theServerTellsOfItself() throws Exception {
    try (TestServer server = TestServer.start()) {
      TestServer.Calls root = server.calls();
      String host = root.only("host");
      Value memory = root.call("Diagnostics.gc_stats", host);
      assertThat(number(memory, "live_words")).isPositive();
      assertThat(number(memory, "heap_words"))
          .isEqualTo(number(memory, "live_words") + number(memory, "free_words"));
      long collections = number(memory, "major_collections");
      root.call("Diagnostics.gc_compact", host);
      assertThat(number(root.call("Diagnostics.gc_stats", host), "major_collections"))
          .isGreaterThan(collections);

      long writes = number(root.call("Diagnostics.db_stats"), "n");
      root.call("pool.add_tags", root.only("pool"), "a");
      Value stats = root.call("Diagnostics.db_stats");
      assertThat(number(stats, "n")).isGreaterThan(writes);
      assertThat(members(stats)).containsOnlyKeys("n", "avgtime", "min", "max");
      for (String time : List.of("avgtime", "min", "max")) {
        assertThat(TestServer.text(TestServer.member(stats, time))).matches("[0-9]+\\.[0-9]{6}");
      }

      assertThat(requests(root, host, Map.of("method", "post", "params", "uri,method")))
          .contains(List.of("POST", "/"))
          .allMatch(row -> row.size() == 2 && row.getFirst().equals("POST"));
      Map<String, String> calls =
          Map.of("method", "POST", "uri", "/", "params", "requests,connections");
      List<String> before = requests(root, host, calls).getFirst();
      root.call("pool.get_all");
      List<String> after = requests(root, host, calls).getFirst();
      assertThat(Long.parseLong(after.getFirst())).isEqualTo(Long.parseLong(before.getFirst()) + 2);
      assertThat(Long.parseLong(after.getLast())).isBetween(1L, Long.parseLong(after.getFirst()));
      assertThat(requests(root, host, Map.of("uri", "/blob", "method", "GET")))
          .containsExactly(List.of("GET", "/blob", "0", "0", "0"));
      assertCode(
          "INVALID_VALUE",
          () -> root.call("Diagnostics.network_stats", host, Map.of("colour", "red")));

      assertThat(root.text("host.get_thread_diagnostics", host))
          .contains(Thread.currentThread().getName(), getClass().getName());
      for (String message : List.of("Diagnostics.gc_stats", "host.get_thread_diagnostics")) {
        assertCode("HANDLE_INVALID", () -> root.call(message, "OpaqueRef:none"));
      }
    }
  }

  private static List<List<String>> requests(
      TestServer.Calls root, String host, Map<String, String> wanted) throws Exception {
    Value rows = root.call("Diagnostics.network_stats", host, wanted);
    return ((Value.Array) rows).items().stream().map(TestServer::texts).toList();
  }

  @Test
  void theKernelsLogIsTold() throws Exception {
    Process process = new ProcessBuilder("dmesg").redirectErrorStream(true).start();
    List<String> lines =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
            .lines()
            .toList();
    try (TestServer server = TestServer.start()) {
      TestServer.Calls root = server.calls();
      String host = root.only("host");
      if (process.waitFor() == 0 && !lines.isEmpty()) {
        assertThat(root.text("host.dmesg", host).lines().toList()).containsAnyElementsOf(lines);
      } else if (process.waitFor() != 0) {
        assertCode("OPERATION_NOT_ALLOWED", () -> root.call("host.dmesg", host));
      }
      assertCode("HANDLE_INVALID", () -> root.call("host.dmesg", "OpaqueRef:x"));
    }
  }
}
