package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.block.ExternalTools;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Xen Orchestra's own library from npm, unmodified, over TLS. */
class OrchestraLibraryTest {
  private static final Path SOURCES = Path.of("src", "test", "npm");
  private static final ObjectMapper JSON = new ObjectMapper();

  private static TwoHosts hosts;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("node");
    Path lock = modules().resolveSibling("package-lock.json");
    boolean present =
        Files.exists(lock) && Files.mismatch(lock, SOURCES.resolve("package-lock.json")) < 0;
    if (!present && "true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      fail(modules() + " lacks what ./xenferry test installs, and XENFERRY_REQUIRE_TOOLS=true");
    }
    assumeTrue(present, "the library is not in " + modules());
    hosts = TwoHosts.start();
  }

  @AfterAll
  static void stop() throws Exception {
    if (hosts != null) {
      hosts.close();
    }
  }

  /** Where {@code ./xenferry test} lets npm install. */
  private static Path modules() {
    Path cache =
        Optional.ofNullable(System.getenv("XDG_CACHE_HOME"))
            .filter(d -> !d.isEmpty())
            .map(Path::of)
            .orElse(Path.of(System.getProperty("user.home"), ".cache"));
    return cache.resolve("xenferry").resolve("npm-clients").resolve("node_modules");
  }

  @Test
  void aRunningVmMovesOverJson() throws Exception {
    Traveller t = hosts.traveller("json", 1);
    hosts.source.call("VM.start", t.vm(), false, false);
    JsonNode seen = orchestrate("auto", t);
    assertThat(seen.path("moved").path("power_state").asText()).isEqualTo("Running");
    assertThat(seen.path("moved").path("host").asText())
        .isEqualTo(hosts.destination.text("host.get_uuid", hosts.destination.only("host")));
    // It took JSON at the first attempt: only there integers are numbers.
    assertThat(seen.path("typeOfIntegers").asText()).isEqualTo("number");
    hosts.destination.call("VM.hard_shutdown", hosts.destination.text("VM.get_by_uuid", t.uuid()));
  }

  @Test
  void aHaltedVmMovesOverXml() throws Exception {
    JsonNode seen = orchestrate("xml-rpc", hosts.traveller("xml", 1));
    assertThat(seen.path("moved").path("power_state").asText()).isEqualTo("Halted");
    assertThat(seen.path("typeOfIntegers").asText()).isEqualTo("string");
  }

  /** All that it does, and what must be so whichever way it is done. */
  private static JsonNode orchestrate(String transport, Traveller t) throws Exception {
    Map<String, Object> plan = new LinkedHashMap<>();
    plan.put("transport", transport);
    plan.put("here", server(hosts.here));
    plan.put("there", server(hosts.there));
    plan.put("vm", t.uuid());
    plan.put("sr", hosts.destination.text("SR.get_uuid", hosts.to));
    plan.put(
        "network", hosts.destination.text("network.get_uuid", hosts.destination.only("network")));
    plan.put("start", Instant.now().getEpochSecond() - 60);
    JsonNode seen = run(plan);
    assertThat(JSON.convertValue(seen.path("warnings"), List.class)).isEmpty();
    for (String type :
        List.of(
            "pool",
            "host",
            "host_metrics",
            "VM",
            "VM_metrics",
            "VDI",
            "VBD",
            "VIF",
            "SR",
            "PBD",
            "SM",
            "network",
            "PIF",
            "role")) {
      assertThat(seen.path("types").path(type).asInt()).as(type).isPositive();
    }
    assertThat(seen.path("master").asText()).isNotEmpty();
    assertThat(seen.path("platform").asText()).matches("[0-9]+\\.[0-9]+\\.[0-9]+");
    assertThat(seen.path("platformAfter").asText()).isEqualTo("1");
    assertThat(seen.path("platformAtLast").isNull()).isTrue();
    assertThat(seen.path("allowed").asBoolean()).isTrue();
    assertThat(seen.path("figures").asInt()).isPositive();
    assertThat(seen.path("figuresTask").isTextual()).isTrue();
    assertThat(seen.path("moved").path("uuid").asText()).isEqualTo(t.uuid());
    assertThat(seen.path("newReference").asBoolean()).isTrue();
    assertThat(seen.path("gone").asBoolean()).isTrue();
    assertThat(JSON.convertValue(seen.path("error"), List.class))
        .containsExactly("HANDLE_INVALID", "VM", t.vm());
    assertThat(hosts.source.all("task")).isEmpty();
    return seen;
  }

  private static Map<String, String> server(TestServer server) {
    return Map.of(
        "address", server.address + ":" + server.server.port(), "password", server.password);
  }

  private static JsonNode run(Map<String, Object> plan) throws Exception {
    Path in = Files.createTempFile("orchestra", ".json");
    Path out = Files.createTempFile("orchestra", ".out");
    Path err = Files.createTempFile("orchestra", ".err");
    JSON.writeValue(in.toFile(), plan);
    Process node =
        new ProcessBuilder(
                "node", SOURCES.resolve("orchestra.mjs").toString(), modules().toString())
            .redirectInput(in.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    try {
      boolean ended = node.waitFor(100, TimeUnit.SECONDS);
      assertThat(Files.readString(err)).isEmpty();
      assertThat(ended).as("it ends").isTrue();
      assertThat(node.exitValue()).isZero();
      return JSON.readTree(out.toFile());
    } finally {
      node.destroyForcibly();
      for (Path file : List.of(in, out, err)) {
        Files.deleteIfExists(file);
      }
    }
  }
}
