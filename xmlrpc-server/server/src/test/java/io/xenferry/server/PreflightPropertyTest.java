package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.model.Host;
import io.xenferry.model.HostMetrics;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A dry run says nothing exactly when the move then goes, and names first what the move fails with.
 * Each seed makes a situation of its own on two real servers, out of troubles and of peculiarities
 * that are none.
 */
class PreflightPropertyTest {
  private static final int QUICK = 6;
  private static final int ALL = 160;
  private static final String NOWHERE = "OpaqueRef:00000000-0000-4000-8000-000000000000";
  private static final ObjectMapper JSON = new ObjectMapper();

  /** What stands against the move of a halted VM, by what is amiss; all else is nothing. */
  private static final Map<String, String> OF_HALTED =
      Map.ofEntries(
          Map.entry("blocked", "vm-blocked"),
          Map.entry("disk unmapped", "disk-without-sr"),
          Map.entry("interface unmapped", "vif-without-network"),
          Map.entry("network unknown", "network-unknown"),
          Map.entry("SR unknown", "target-sr-unknown"),
          Map.entry("SR tight", "target-sr-full"),
          Map.entry("SR detached", "target-sr-detached"),
          Map.entry("option unknown", "bad-option"),
          Map.entry("option bad", "bad-option"),
          Map.entry("base unknown", "bad-option"),
          Map.entry("format unknown", "target-sr-format"),
          Map.entry("format nonsense", "bad-format"),
          Map.entry("token used", "token-used"),
          Map.entry("token bad", "not-a-token"),
          Map.entry("certificate of another", "destination-certificate"),
          Map.entry("ledger of another", "destination-lost-its-ledger"),
          Map.entry("nobody there", "destination-unreachable"),
          Map.entry("foreign", "foreign-destination"),
          Map.entry("busy", "vm-busy"),
          Map.entry("disk shared", "disk-shared"),
          Map.entry("twin", "vm-there-already"),
          Map.entry("host disabled", "host-disabled"),
          Map.entry("processors", "processors"));

  /** The same of a VM that runs, where that makes a difference. */
  private static final Map<String, String> OF_RUNNING =
      Map.ofEntries(
          Map.entry("strategy", "strategy"),
          Map.entry("format known", "target-sr-format"),
          Map.entry("copy", "vm-not-halted-for-copy"),
          Map.entry("busy", "vm-busy"),
          Map.entry("memory", "memory"),
          Map.entry("immobile", "vm-immobile"),
          Map.entry("other vendor", "processor-features"),
          Map.entry("other vendor, warm", ""),
          Map.entry("no processors", ""),
          Map.entry("warm", ""),
          Map.entry("warm to no machine", "bad-option"),
          Map.entry("machine otherwise", ""),
          Map.entry("live", ""),
          Map.entry("nbds", ""));

  private static final Set<String> ONLY_RUNNING =
      Set.of("warm", "other vendor, warm", "warm to no machine");

  private static TwoHosts hosts;
  private static ObjectDatabase there;
  private static Ref<Host> host;
  private static String tight;
  private static String detached;
  private static Optional<Value> used = Optional.empty();

  @BeforeAll
  static void start() throws Exception {
    hosts = TwoHosts.start();
    there = hosts.there.server.context().db();
    host = new Ref<>(hosts.destination.only("host"));
    tight = hosts.destination.memorySr(TwoHosts.SIZE / 2);
    detached = hosts.destination.memorySr(1L << 30);
    hosts.destination.call(
        "PBD.unplug", TestServer.texts(hosts.destination.call("SR.get_PBDs", detached)).getFirst());
  }

  @AfterAll
  static void stop() throws Exception {
    hosts.close();
  }

  /** How a situation is undone. */
  @FunctionalInterface
  private interface Mend {
    void mend() throws Exception;
  }

  /** One thing about a situation. */
  @FunctionalInterface
  private interface Twist {
    Mend apply(Situation s) throws Exception;
  }

  private static final class Situation {
    private final Traveller t;
    private final boolean runs;
    private final Map<String, String> vdis;
    private final Map<String, String> vifs;
    private final Map<String, String> options = new LinkedHashMap<>();
    private final Map<String, String> formats = new LinkedHashMap<>();
    private Value token;

    Situation(Traveller t, boolean runs) throws Exception {
      this.t = t;
      this.runs = runs;
      vdis = new LinkedHashMap<>(t.vdiMap(hosts.to));
      vifs = new LinkedHashMap<>(t.vifMap());
      token = hosts.token();
      // Gentle on a busy machine.
      options.put("max-downtime", "2000");
    }
  }

  private static Twist plain(java.util.function.Consumer<Situation> change) {
    return s -> {
      change.accept(s);
      return () -> {};
    };
  }

  private static Twist atDestination(DbChange change, DbChange back) {
    return s -> {
      there.change(change::apply);
      return () -> there.change(back::apply);
    };
  }

  @FunctionalInterface
  private interface DbChange {
    void apply(io.xenferry.model.db.Transaction tx) throws XenApiException;
  }

  private static Map<String, Twist> twists() {
    Map<String, Twist> twists = new LinkedHashMap<>();
    // Troubles, some of them only for a VM that runs, or with another twist.
    twists.put(
        "blocked",
        s -> {
          hosts.source.call("VM.add_to_blocked_operations", s.t.vm(), "migrate_send", "because");
          return () -> {};
        });
    twists.put("disk unmapped", plain(s -> s.vdis.remove(s.t.vdis().getFirst())));
    twists.put("interface unmapped", plain(s -> s.vifs.clear()));
    twists.put("network unknown", plain(s -> s.vifs.replaceAll((vif, network) -> NOWHERE)));
    twists.put("SR unknown", plain(s -> s.vdis.put(s.t.vdis().getLast(), NOWHERE)));
    twists.put("SR tight", plain(s -> s.vdis.replaceAll((vdi, sr) -> tight)));
    twists.put("SR detached", plain(s -> s.vdis.put(s.t.vdis().getLast(), detached)));
    twists.put("option unknown", plain(s -> s.options.put("speed", "1")));
    twists.put("option bad", plain(s -> s.options.put("bandwidth", "much")));
    twists.put("strategy", plain(s -> s.options.put("strategy", "snapshot")));
    twists.put("base unknown", plain(s -> s.options.put("base", UUID.randomUUID().toString())));
    twists.put("copy", plain(s -> s.options.put("copy", "true")));
    twists.put("format unknown", plain(s -> s.formats.put(s.t.vdis().getFirst(), "vhdx")));
    twists.put("format nonsense", plain(s -> s.formats.put(s.t.vdis().getFirst(), "a/b")));
    twists.put("token used", plain(s -> s.token = used.orElse(s.token)));
    twists.put(
        "token bad", plain(s -> s.token = Value.ofTexts(Map.of("xenferry", "bm90IGEgdG9rZW4.x"))));
    twists.put("certificate of another", token("fingerprint", PreflightPropertyTest::otherDigit));
    twists.put("nobody there", token("url", old -> old.replaceAll(":[0-9]+", ":9")));
    twists.put("ledger of another", token("incarnation", old -> UUID.randomUUID().toString()));
    twists.put("foreign", plain(s -> s.token = Value.ofTexts(Map.of("host", NOWHERE))));
    twists.put(
        "busy",
        s -> {
          var db = hosts.here.server.context().db();
          Ref<VM> vm = new Ref<>(s.t.vm());
          db.change(
              tx -> tx.set(vm, VM.CURRENT_OPERATIONS, Map.of(NOWHERE, VmOperations.SNAPSHOT)));
          return () ->
              db.change(tx -> {
                if (tx.row("VM", vm.opaque()).isPresent()) {
                  tx.set(vm, VM.CURRENT_OPERATIONS, Map.of());
                }
              });
        });
    twists.put(
        "disk shared",
        s -> {
          String other = hosts.source.vm("other", Map.of());
          hosts.source.vbd(other, s.t.vdis().getFirst(), 0);
          return () -> hosts.source.call("VM.destroy", other);
        });
    twists.put(
        "template",
        s -> {
          if (!s.runs) {
            hosts.source.call("VM.set_is_a_template", s.t.vm(), true);
          }
          return () -> {};
        });
    twists.put(
        "twin",
        s -> {
          String twin = hosts.destination.vm("twin", Map.of());
          there.change(tx -> tx.set(new Ref<>(twin), VM.UUID, s.t.uuid()));
          return () -> hosts.destination.call("VM.destroy", twin);
        });
    twists.put(
        "host disabled",
        atDestination(
            tx -> tx.set(host, Host.ENABLED, false), tx -> tx.set(host, Host.ENABLED, true)));
    twists.put(
        "memory",
        s -> {
          var metrics = there.snapshot().get(host, Host.METRICS);
          long total = there.snapshot().get(metrics, HostMetrics.MEMORY_TOTAL);
          there.change(tx -> tx.set(metrics, HostMetrics.MEMORY_TOTAL, 32L << 20));
          return () -> there.change(tx -> tx.set(metrics, HostMetrics.MEMORY_TOTAL, total));
        });
    twists.put(
        "immobile",
        s -> {
          hosts.source.call("VM.add_to_platform", s.t.vm(), "nomigrate", "true");
          return () -> {};
        });
    twists.put("other vendor", processor("vendor", "another"));
    twists.put(
        "other vendor, warm",
        s -> {
          s.options.put("mode", "warm");
          return processor("vendor", "another").apply(s);
        });
    twists.put("no processors", processor("cpu_count", "0"));
    twists.put(
        "processors",
        s -> {
          if (!s.runs) {
            hosts.source.call("VM.set_VCPUs_max", s.t.vm(), 64);
          }
          return () -> {};
        });
    twists.put(
        "warm to no machine",
        s -> {
          s.options.put("mode", "warm");
          hosts.source.call("VM.add_to_platform", s.t.vm(), "vga", "voodoo");
          return () -> {};
        });
    // What stands against nothing by itself.
    twists.put(
        "snapshot",
        s -> {
          hosts.source.call("VM.snapshot", s.t.vm(), "earlier", List.of());
          return () -> {};
        });
    twists.put(
        "machine otherwise",
        s -> {
          hosts.source.call("VM.add_to_platform", s.t.vm(), "nic_type", "token ring");
          return () -> {};
        });
    twists.put("force", plain(s -> s.options.put("force", "true")));
    twists.put("keep", plain(s -> s.options.put("keep-source", "true")));
    twists.put("nbds", plain(s -> s.options.put("transport", "nbds")));
    // Simulated guests have raw disks only.
    twists.put("format known", plain(s -> s.formats.put(s.t.vdis().getFirst(), "qcow2")));
    twists.put("warm", plain(s -> s.options.put("mode", "warm")));
    twists.put("live", plain(s -> s.options.put("live", "false")));
    return twists;
  }

  /** With another value of something that the destination has put into its token. */
  private static Twist token(String field, UnaryOperator<String> change) {
    return s -> {
      Map<String, String> members = new LinkedHashMap<>();
      ((Value.Struct) s.token)
          .members()
          .forEach((key, value) -> members.put(key, TestServer.text(value)));
      String token = members.get("xenferry");
      int dot = token.indexOf('.');
      ObjectNode said =
          (ObjectNode) JSON.readTree(Base64.getUrlDecoder().decode(token.substring(0, dot)));
      said.put(field, change.apply(said.path(field).asText()));
      members.put(
          "xenferry",
          Base64.getUrlEncoder().withoutPadding().encodeToString(JSON.writeValueAsBytes(said))
              + token.substring(dot));
      s.token = Value.ofTexts(members);
      return () -> {};
    };
  }

  private static String otherDigit(String digits) {
    return (digits.startsWith("0") ? "1" : "0") + digits.substring(1);
  }

  private static Twist processor(String key, String value) {
    return s -> {
      Map<String, String> cpu = there.snapshot().get(host, Host.CPU_INFO);
      Map<String, String> other = new LinkedHashMap<>(cpu);
      other.put(key, value);
      there.change(tx -> tx.set(host, Host.CPU_INFO, other));
      return () -> there.change(tx -> tx.set(host, Host.CPU_INFO, cpu));
    };
  }

  static IntStream few() {
    return IntStream.range(0, QUICK);
  }

  static IntStream many() {
    return IntStream.range(QUICK, ALL);
  }

  static Stream<Arguments> each() {
    return Stream.concat(
        twists().keySet().stream()
            .filter(twist -> !ONLY_RUNNING.contains(twist))
            .map(twist -> arguments(twist, false, OF_HALTED.getOrDefault(twist, ""))),
        OF_RUNNING.keySet().stream()
            .sorted()
            .map(twist -> arguments(twist, true, OF_RUNNING.get(twist))));
  }

  /** One thing at a time, of a VM that does not run, and of one that does where that matters. */
  @ParameterizedTest(name = "{0}, running: {1}, {2}")
  @MethodSource("each")
  void aDryRunAgreesWithTheMoveWhateverIsAmiss(String twist, boolean runs, String kind)
      throws Exception {
    assertThat(check(hosts.traveller("one", 1), runs, false, List.of(twist)))
        .isEqualTo(kind.isEmpty() ? List.of() : List.of(kind));
  }

  @ParameterizedTest
  @MethodSource("few")
  void aDryRunAgreesWithTheMove(int seed) throws Exception {
    check(seed);
  }

  @Tag("slow")
  @ParameterizedTest
  @MethodSource("many")
  void aDryRunAgreesWithTheMoveInManySituations(int seed) throws Exception {
    check(seed);
  }

  private static void check(int seed) throws Exception {
    Random random = new Random(seed);
    Traveller t = hosts.traveller("seed-" + seed, 1 + random.nextInt(2));
    boolean runs = random.nextInt(3) == 0;
    boolean paused = runs && random.nextInt(6) == 0;
    List<String> names = new ArrayList<>(twists().keySet());
    List<String> chosen = new ArrayList<>();
    for (int i = random.nextInt(4); i > 0; i--) {
      chosen.add(names.remove(random.nextInt(names.size())));
    }
    check(t, runs, paused, chosen);
  }

  private static List<String> check(Traveller t, boolean runs, boolean paused, List<String> chosen)
      throws Exception {
    if (runs) {
      hosts.source.call("VM.start", t.vm(), paused, false);
    }
    Situation s = new Situation(t, runs);
    List<Mend> mends = new ArrayList<>();
    Map<String, Twist> twists = twists();
    List<String> told;
    String situation = (runs ? paused ? "paused" : "running" : "halted") + ", " + chosen;
    try {
      for (String name : chosen) {
        mends.add(twists.get(name).apply(s));
      }
      told = compare(s, situation);
    } finally {
      for (Mend mend : mends.reversed()) {
        mend.mend();
      }
    }
    if (hosts.source.all("VM").contains(t.vm()) && !t.powerState().equals("Halted")) {
      t.end();
    }
    return told;
  }

  /**
   * @return the kinds of obstacles that the dry run has told
   */
  private static List<String> compare(Situation s, String situation) throws Exception {
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    List<JsonNode> told = dryRun(s);
    assertThat(TwoHosts.objects(hosts.there)).as(situation).isEqualTo(before);
    Object[] arguments = {s.t.vm(), s.token, true, s.vdis, s.vifs, s.options, Map.of(), s.formats};
    String state = hosts.source.text("VM.get_power_state", s.t.vm());
    String arrived;
    try {
      arrived = move(arguments);
    } catch (XenApiException e) {
      assertThat(told).as("%s: %s%s", situation, e.code(), e.params()).isNotEmpty();
      List<String> params = new ArrayList<>();
      told.getFirst().path("params").forEach(param -> params.add(param.asText()));
      assertThat(told.getFirst().path("code").asText()).as(situation).isEqualTo(e.code());
      assertThat(params).as(situation).isEqualTo(e.params());
      assertThat(hosts.source.text("VM.get_power_state", s.t.vm())).isEqualTo(state);
      assertThat(TwoHosts.objects(hosts.there)).as(situation).isEqualTo(before);
      assertThat(hosts.movesOf(s.t)).as(situation).allMatch(MigrationStatus::ended);
      return told.stream().map(o -> o.path("kind").asText()).toList();
    }
    assertThat(told).as(situation).isEmpty();
    used = Optional.of(s.token);
    leave(arrived);
    return List.of();
  }

  /** As a task, which has no deadline of its client's. */
  private static String move(Object[] arguments) throws XenApiException {
    String task = hosts.source.text("Async.VM.migrate_send", arguments);
    await()
        .atMost(TwoHosts.LONG.multipliedBy(2))
        .until(() -> !hosts.source.text("task.get_status", task).equals("pending"));
    List<String> error = TestServer.texts(hosts.source.call("task.get_error_info", task));
    if (!error.isEmpty()) {
      throw new XenApiException(error.getFirst(), error.subList(1, error.size()));
    }
    Matcher arrived =
        Pattern.compile("OpaqueRef:[0-9a-f-]+").matcher(hosts.source.text("task.get_result", task));
    assertThat(arrived.find()).isTrue();
    return arrived.group();
  }

  /** Makes room for others. */
  private static void leave(String vm) throws XenApiException {
    if (!hosts.destination.text("VM.get_power_state", vm).equals("Halted")) {
      hosts.destination.call("VM.hard_shutdown", vm);
    }
    List<String> vdis = new ArrayList<>();
    for (String vbd : TestServer.texts(hosts.destination.call("VM.get_VBDs", vm))) {
      vdis.add(hosts.destination.text("VBD.get_VDI", vbd));
    }
    hosts.destination.call("VM.destroy", vm);
    for (String vdi : vdis) {
      hosts.destination.call("VDI.destroy", vdi);
    }
  }

  private static List<JsonNode> dryRun(Situation s) throws Exception {
    ObjectNode body = JSON.createObjectNode();
    body.put("vm", s.t.vm());
    Map<String, String> dest = new LinkedHashMap<>();
    ((Value.Struct) s.token)
        .members()
        .forEach((key, value) -> dest.put(key, TestServer.text(value)));
    body.set("dest", JSON.valueToTree(dest));
    body.set("vdi_map", JSON.valueToTree(s.vdis));
    body.set("vif_map", JSON.valueToTree(s.vifs));
    body.set("options", JSON.valueToTree(s.options));
    body.set("vdi_format_map", JSON.valueToTree(s.formats));
    List<JsonNode> told = new ArrayList<>();
    for (JsonNode obstacle :
        Rest.post(hosts.here, "/v1/migrations?dry-run", body).path("obstacles")) {
      if (obstacle.path("blocks").asBoolean()) {
        told.add(obstacle);
      }
    }
    return told;
  }
}
