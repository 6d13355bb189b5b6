package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpServer;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.TokenMint;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.server.TwoHosts.Traveller;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What is told of moves that are not begun. */
class DryRunTest {
  private static final String NOWHERE = "OpaqueRef:00000000-0000-4000-8000-000000000000";
  private static final String PATH = "/v1/migrations?dry-run";
  private static final ObjectMapper JSON = new ObjectMapper();

  private static TwoHosts hosts;
  private static TestServer.Calls source;
  private static TestServer.Calls destination;
  private static String to;

  @BeforeAll
  static void start() throws Exception {
    hosts = TwoHosts.start();
    source = hosts.source;
    destination = hosts.destination;
    to = hosts.to;
  }

  @AfterAll
  static void stop() throws Exception {
    hosts.close();
  }

  private static ObjectNode body(
      String vm,
      Value token,
      Map<String, String> vdis,
      Map<String, String> vifs,
      Map<String, String> options) {
    Map<String, String> dest = new LinkedHashMap<>();
    ((Value.Struct) token).members().forEach((key, value) -> dest.put(key, TestServer.text(value)));
    ObjectNode body = JSON.createObjectNode();
    body.put("vm", vm);
    body.put("live", true);
    body.set("dest", JSON.valueToTree(dest));
    body.set("vdi_map", JSON.valueToTree(vdis));
    body.set("vif_map", JSON.valueToTree(vifs));
    body.set("options", JSON.valueToTree(options));
    return body;
  }

  private static List<String> kinds(JsonNode answer) {
    List<String> kinds = new ArrayList<>();
    answer.path("obstacles").forEach(o -> kinds.add(o.path("kind").asText()));
    assertThat(answer.path("moves").asBoolean()).isEqualTo(kinds.isEmpty());
    return kinds;
  }

  @Test
  void everythingOnBothSidesIsToldAtOnceAndNothingIsChanged() throws Exception {
    Traveller t = hosts.traveller("many", 3);
    source.call("VM.start", t.vm(), true, false);
    source.call("VM.add_to_blocked_operations", t.vm(), "migrate_send", "because");
    Map<String, String> vdis = new LinkedHashMap<>(t.vdiMap(to));
    vdis.remove(t.vdis().getFirst());
    vdis.put(t.vdis().getLast(), NOWHERE);
    Ref<Host> there = new Ref<>(destination.only("host"));
    var db = hosts.there.server.context().db();
    db.change(tx -> tx.set(there, Host.ENABLED, false));
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    int rows = hosts.there.server.coordinator().statuses().size();
    Map<String, String> options = Map.of("speed", "1", "bandwidth", "much");
    try {
      JsonNode answer =
          Rest.post(hosts.here, PATH, body(t.uuid(), hosts.token(), vdis, Map.of(), options));
      assertThat(kinds(answer))
          .startsWith("vm-blocked", "vm-power-state")
          .contains("bad-option", "vif-without-network", "disk-without-sr");
      assertThat(kinds(answer)).endsWith("target-sr-unknown", "host-disabled");
      JsonNode last = answer.path("obstacles").path(kinds(answer).size() - 1);
      assertThat(last.path("side").asText()).isEqualTo("destination");
      assertThat(last.path("code").asText()).isEqualTo("HOST_DISABLED");
      JsonNode first = answer.path("obstacles").path(0);
      assertThat(first.path("code").asText()).isEqualTo("OPERATION_BLOCKED");
      assertThat(first.path("params").path(1).asText()).isEqualTo("because");
      assertThat(first.path("side").asText()).isEqualTo("source");
      assertThat(first.path("sentence").asText()).contains("because");
      assertThat(first.path("remedy").asText()).contains("blocked_operations");
      Object[] arguments = {t.vm(), hosts.token(), true, vdis, Map.of(), options};
      assertCode("OPERATION_BLOCKED", () -> source.call("VM.assert_can_migrate", arguments));
    } finally {
      db.change(tx -> tx.set(there, Host.ENABLED, true));
    }
    assertThat(TwoHosts.objects(hosts.there)).isEqualTo(before);
    assertThat(hosts.there.server.coordinator().statuses()).hasSize(rows);
    source.call("VM.hard_shutdown", t.vm());
  }

  @Test
  void theDestinationTellsAllThatItSees() throws Exception {
    Traveller t = hosts.traveller("unwelcome", 2);
    source.call("VM.start", t.vm(), false, false);
    Map<String, String> stray = new LinkedHashMap<>(t.vifMap());
    stray.replaceAll((vif, network) -> NOWHERE);
    String tight =
        destination.text(
            "SR.create",
            destination.only("host"),
            Map.of("capacity", Long.toString(1 << 20)),
            0,
            "tight",
            "",
            "memory",
            "user",
            false,
            Map.of());
    Ref<Host> there = new Ref<>(destination.only("host"));
    var db = hosts.there.server.context().db();
    Map<String, String> cpu = db.snapshot().get(there, Host.CPU_INFO);
    Map<String, String> other = new LinkedHashMap<>(cpu);
    other.put("vendor", "another");
    db.change(tx -> tx.set(there, Host.CPU_INFO, other));
    Value token = hosts.token();
    ObjectNode body = body(t.vm(), token, t.vdiMap(tight), stray, Map.of("transport", "nbds"));
    try {
      assertThat(kinds(Rest.post(hosts.here, PATH, body)))
          .containsExactly("target-sr-full", "network-unknown", "processor-features");
      body.set("options", JSON.valueToTree(Map.of("force", "true")));
      assertThat(kinds(Rest.post(hosts.here, PATH, body)))
          .containsExactly("target-sr-full", "network-unknown");
    } finally {
      db.change(tx -> tx.set(there, Host.CPU_INFO, cpu));
    }
    source.call("VM.migrate_send", t.arguments(token, to, Map.of()));
    assertThat(
            kinds(
                Rest.post(
                    hosts.here,
                    PATH,
                    body(hosts.traveller("late", 1).vm(), token, Map.of(), Map.of(), Map.of()))))
        .containsExactly("vif-without-network", "disk-without-sr", "token-used");
    destination.call("VM.hard_shutdown", destination.text("VM.get_by_uuid", t.uuid()));
  }

  @Test
  void whereNothingIsToldTheMoveGoesWithTheSameToken() throws Exception {
    Traveller t = hosts.traveller("free", 1);
    Value token = hosts.token();
    ObjectNode body = body(t.vm(), token, t.vdiMap(to), t.vifMap(), Map.of());
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
    source.call("VM.migrate_send", t.arguments(token, to, Map.of()));
    assertThat(destination.text("VM.get_by_uuid", t.uuid())).isNotEmpty();
  }

  @Test
  void withinThePoolAsWell() throws Exception {
    Traveller t = hosts.traveller("inside", 1);
    Value self =
        source.call("host.migrate_receive", source.only("host"), source.only("network"), Map.of());
    assertThat(
            kinds(
                Rest.post(
                    hosts.here,
                    PATH,
                    body(
                        t.vm(),
                        self,
                        t.vdiMap(NOWHERE),
                        t.vifMap(),
                        Map.of("copy", "true", "transport", "nbds")))))
        .containsExactly("bad-option", "copy-within-pool", "vifs-within-pool", "target-sr-unknown");
    ObjectNode stay = JSON.createObjectNode().put("vm", t.vm()).put("host", source.only("host"));
    assertThat(kinds(Rest.post(hosts.here, PATH, stay))).containsExactly("vm-power-state");
  }

  @Test
  void whatIsNoDryRunIsRefused() throws Exception {
    Traveller t = hosts.traveller("nonsense", 1);
    ObjectNode good = body(t.vm(), hosts.token(), t.vdiMap(to), t.vifMap(), Map.of());
    String root = "root:" + hosts.here.password;
    for (String body :
        List.of(
            "",
            "[]",
            "{",
            "{\"vm\": 3}",
            good.deepCopy().put("speed", 1).toString(),
            good.deepCopy().put("vm", NOWHERE).toString(),
            good.deepCopy().put("vdi_map", "all").toString(),
            "[".repeat(100_000))) {
      assertThat(Rest.status(hosts.here, PATH, root, body)).as(body).isEqualTo(400);
    }
    assertThat(Rest.status(hosts.here, "/v1/migrations", root, good.toString())).isEqualTo(400);
    assertThat(Rest.status(hosts.here, PATH, root, " ".repeat(300 << 10))).isEqualTo(413);
    assertThat(Rest.status(hosts.here, PATH, "root:wrong", good.toString())).isEqualTo(401);
  }

  /** Answers at an address of its own what a destination would, after the first connection. */
  @Test
  void aDestinationThatDoesNotAnswerIsAskedOnceMore() throws Exception {
    Traveller t = hosts.traveller("patient", 1);
    UUID incarnation = UUID.randomUUID();
    AtomicInteger asked = new AtomicInteger();
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext(
        "/v1/incoming/",
        exchange -> {
          exchange.getRequestBody().readAllBytes();
          if (asked.incrementAndGet() > 1) {
            byte[] answer = PeerAnswer.unknown(incarnation).write();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
          }
          exchange.close();
        });
    server.start();
    String url = "http://127.0.0.1:" + server.getAddress().getPort();
    TokenMint mint =
        new TokenMint(new byte[32], incarnation, "somewhere", new PeerAddress(url, ""));
    MigrationId migration = new MigrationId(UUID.randomUUID());
    String words = mint.issue(migration, List.of(), url, Instant.now(), Duration.ofHours(1));
    Value token = Value.ofTexts(Map.of("xenferry", words));
    ObjectNode body = body(t.vm(), token, t.vdiMap(to), t.vifMap(), Map.of());
    try {
      assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
      assertThat(asked).hasValue(2);
    } finally {
      server.stop(0);
    }
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).containsExactly("destination-unreachable");
  }
}
