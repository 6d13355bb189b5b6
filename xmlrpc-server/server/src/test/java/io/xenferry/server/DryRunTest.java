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
import io.xenferry.model.VM;
import io.xenferry.model.VMGuestMetrics;
import io.xenferry.model.Value;
import java.io.IOException;
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
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** What is told of moves that are not begun. */
class DryRunTest extends BetweenHosts {
  private static final String NOWHERE = "OpaqueRef:00000000-0000-4000-8000-000000000000";
  private static final String PATH = "/v1/migrations?dry-run";
  private static final ObjectMapper JSON = new ObjectMapper();

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
    boolean moves = true;
    for (JsonNode obstacle : answer.path("obstacles")) {
      kinds.add(obstacle.path("kind").asText());
      moves &= !obstacle.path("blocks").asBoolean();
    }
    assertThat(answer.path("moves").asBoolean()).isEqualTo(moves);
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
    t.end();
  }

  @Test
  void theDestinationTellsAllThatItSees() throws Exception {
    Traveller t = hosts.traveller("unwelcome", 2);
    t.start();
    Map<String, String> stray = new LinkedHashMap<>(t.vifMap());
    stray.replaceAll((vif, network) -> NOWHERE);
    String tight = destination.memorySr(1 << 20);
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
    t.end();
    source.call("VM.migrate_send", t.arguments(token, to, Map.of()));
    assertThat(
            kinds(
                Rest.post(
                    hosts.here,
                    PATH,
                    body(hosts.traveller("late", 1).vm(), token, Map.of(), Map.of(), Map.of()))))
        .containsExactly("vif-without-network", "disk-without-sr", "token-used");
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
    Value self = source.token();
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
            "{\"live\": true, " + good.toString().substring(1),
            good + " {}",
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

  /** Answers at an address of its own what a destination would, but not the first times. */
  private static final class Stranger implements AutoCloseable {
    private final UUID incarnation = UUID.randomUUID();
    private final AtomicInteger asked = new AtomicInteger();
    private final HttpServer server;
    private final Value token;

    Stranger(int silent, UnaryOperator<PeerAnswer> said) throws IOException {
      server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
      server.createContext(
          "/v1/incoming/",
          exchange -> {
            exchange.getRequestBody().readAllBytes();
            if (asked.incrementAndGet() > silent) {
              byte[] answer = said.apply(PeerAnswer.unknown(incarnation)).write();
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
      token =
          Value.ofTexts(
              Map.of(
                  "xenferry",
                  mint.issue(migration, List.of(), url, Instant.now(), Duration.ofHours(1))));
    }

    @Override
    public void close() {
      server.stop(0);
    }
  }

  @Test
  void aDestinationThatDoesNotAnswerIsAskedOnceMore() throws Exception {
    Traveller t = hosts.traveller("patient", 1);
    ObjectNode body;
    try (Stranger stranger = new Stranger(1, answer -> answer)) {
      body = body(t.vm(), stranger.token, t.vdiMap(to), t.vifMap(), Map.of());
      assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
      assertThat(stranger.asked).hasValue(2);
    }
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).containsExactly("destination-unreachable");
  }

  @Test
  void clocksThatDifferAreNoReasonToStay() throws Exception {
    Traveller t = hosts.traveller("late", 1);
    long clock = Instant.now().plusSeconds(3600).toEpochMilli();
    try (Stranger stranger = new Stranger(0, answer -> answer.with(clock, List.of()))) {
      JsonNode answer =
          Rest.post(
              hosts.here, PATH, body(t.vm(), stranger.token, t.vdiMap(to), t.vifMap(), Map.of()));
      assertThat(kinds(answer)).containsExactly("clocks-differ");
      assertThat(answer.path("moves").asBoolean()).isTrue();
      assertThat(answer.path("obstacles").path(0).path("params").path(0).asInt())
          .isBetween(3500, 3700);
    }
    try (Stranger stranger =
        new Stranger(0, answer -> answer.with(Instant.now().toEpochMilli(), List.of()))) {
      ObjectNode body = body(t.vm(), stranger.token, t.vdiMap(to), t.vifMap(), Map.of());
      assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
    }
  }

  private static void tell(String vm, Map<String, String> networks) throws Exception {
    var db = hosts.here.server.context().db();
    Ref<VMGuestMetrics> metrics = db.snapshot().get(new Ref<VM>(vm), VM.GUEST_METRICS);
    db.change(tx -> {
      Ref<VMGuestMetrics> told = metrics;
      if (tx.row("VM_guest_metrics", metrics.opaque()).isEmpty()) {
        told = Ref.random();
        tx.create("VM_guest_metrics", told.opaque(), Map.of());
        tx.set(new Ref<VM>(vm), VM.GUEST_METRICS, told);
      }
      tx.set(told, VMGuestMetrics.NETWORKS, networks);
    });
  }

  /** The servers have the addresses 127.0.0.1 and 127.0.0.2 here, and so has the client. */
  @Test
  void whoAsksFromWithinTheVmIsWarnedAndADestinationWithinItIsNone() throws Exception {
    Traveller t = hosts.traveller("inner", 1);
    t.start();
    Value token = hosts.token();
    ObjectNode body = body(t.vm(), token, t.vdiMap(to), t.vifMap(), Map.of());
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
    tell(t.vm(), Map.of("0/ip", "127.0.0.1"));
    JsonNode warned = Rest.post(hosts.here, PATH, body);
    assertThat(kinds(warned)).containsExactly("caller-in-vm");
    assertThat(warned.path("moves").asBoolean()).isTrue();
    source.call("VM.assert_can_migrate", t.arguments(token, to, Map.of()));
    tell(t.vm(), Map.of("0/ip", "127.0.0.2"));
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).containsExactly("destination-in-vm");
    assertCode(
        "OPERATION_NOT_ALLOWED",
        () -> source.call("VM.migrate_send", t.arguments(token, to, Map.of())));
    body.set("options", JSON.valueToTree(Map.of("force", "true")));
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
    t.end();
  }

  @Test
  void aVmThatHangsOnItsHostStaysWhileItRuns() throws Exception {
    Traveller t = hosts.traveller("bound", 1);
    source.call("VM.add_to_platform", t.vm(), "nomigrate", "true");
    ObjectNode body = body(t.vm(), hosts.token(), t.vdiMap(to), t.vifMap(), Map.of());
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).isEmpty();
    t.start();
    var db = hosts.here.server.context().db();
    db.change(tx -> tx.set(new Ref<VM>(t.vm()), VM.PV_KERNEL, "no-kernel"));
    assertThat(kinds(Rest.post(hosts.here, PATH, body)))
        .containsExactly("vm-immobile", "boot-files");
    assertThat(TestServer.texts(source.call("VM.get_allowed_operations", t.vm())))
        .doesNotContain("migrate_send", "pool_migrate");
    assertCode("VM_IS_IMMOBILE", t::move);
    db.change(tx -> tx.set(new Ref<VM>(t.vm()), VM.PLATFORM, Map.of()));
    assertThat(kinds(Rest.post(hosts.here, PATH, body))).containsExactly("boot-files");
    assertCode("BOOTLOADER_FAILED", t::move);
    t.end();
  }
}
