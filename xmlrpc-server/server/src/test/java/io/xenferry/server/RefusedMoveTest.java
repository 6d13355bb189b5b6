package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Moves that do not begin, and why they say so. */
class RefusedMoveTest extends BetweenHosts {
  @Test
  void aTokenIssuedLeavesNothing() throws Exception {
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    for (int i = 0; i < 5; i++) {
      assertThat(((Value.Struct) hosts.token()).members())
          .containsKeys("SM", "xenops", "host", "session_id", "master", "xenferry");
    }
    assertThat(TwoHosts.objects(hosts.there)).isEqualTo(before);
    String session = TestServer.text(TestServer.member(hosts.token(), "session_id"));
    assertCode("SESSION_INVALID", () -> hosts.there.api.call("VM.get_all", Value.of(session)));
  }

  @Test
  void obstaclesAreNamed() throws Exception {
    Traveller t = hosts.traveller("obstacles", 1);
    Value token = hosts.token();
    String assertion = "VM.assert_can_migrate";
    source.call(assertion, t.arguments(token, to, Map.of()));
    assertThat(
            assertCode(
                    "VDI_NOT_IN_MAP",
                    () ->
                        source.call(assertion, t.vm(), token, true, Map.of(), t.vifMap(), Map.of()))
                .params())
        .containsExactly(t.vdis().getFirst());
    assertCode(
        "VIF_NOT_IN_MAP",
        () -> source.call(assertion, t.vm(), token, true, t.vdiMap(to), Map.of(), Map.of()));
    assertCode(
        "INVALID_VALUE",
        () -> source.call(assertion, t.arguments(token, to, Map.of("speed", "1"))));
    assertCode(
        "INVALID_VALUE",
        () -> source.call(assertion, t.arguments(token, to, Map.of("bandwidth", "much"))));
    Map<String, Value> foreign = new LinkedHashMap<>(((Value.Struct) token).members());
    foreign.remove("xenferry");
    XenApiException refused =
        assertCode(
            "VM_MIGRATE_FAILED",
            () -> source.call(assertion, t.arguments(Value.Struct.of(foreign), to, Map.of())));
    assertThat(refused.params()).hasSize(4);
    assertThat(refused.params().getLast()).contains("not a XenFerry server");
    // Asking, however often, uses nothing up: the token still opens.
    source.call(assertion, t.arguments(token, to, Map.of()));
    source.text("VM.migrate_send", t.arguments(token, to, Map.of()));
  }

  @Test
  void aVmThatIsPausedIsNotMoved() throws Exception {
    Traveller t = hosts.traveller("paused", 1);
    source.call("VM.start", t.vm(), true, false);
    String operations = "VM.get_allowed_operations";
    assertThat(TestServer.texts(source.call(operations, t.vm()))).doesNotContain("migrate_send");
    assertCode("VM_BAD_POWER_STATE", t::check);
    source.call("VM.unpause", t.vm());
    assertThat(TestServer.texts(source.call(operations, t.vm()))).contains("migrate_send");
    t.end();
    assertThat(TestServer.texts(source.call(operations, t.vm()))).contains("migrate_send");
  }

  /** Both the question and the move itself name it, and neither leaves anything behind. */
  private static XenApiException refusedBothWays(
      String code, Traveller t, Value token, String sr, Map<String, String> networks)
      throws Exception {
    Map<String, Integer> there = TwoHosts.objects(hosts.there);
    int rows = hosts.there.server.coordinator().statuses().size();
    Object[] arguments = {t.vm(), token, true, t.vdiMap(sr), networks, Map.of()};
    assertCode(code, () -> source.call("VM.assert_can_migrate", arguments));
    XenApiException refused = assertCode(code, () -> source.call("VM.migrate_send", arguments));
    assertThat(TwoHosts.objects(hosts.there)).isEqualTo(there);
    assertThat(hosts.there.server.coordinator().statuses()).hasSize(rows);
    return refused;
  }

  @Test
  void obstaclesAtTheDestinationAreNamedBeforeAnythingBegins() throws Exception {
    Traveller t = hosts.traveller("unwelcome", 2);
    t.start();
    String nowhere = "OpaqueRef:00000000-0000-4000-8000-000000000000";
    refusedBothWays("HANDLE_INVALID", t, hosts.token(), nowhere, t.vifMap());
    Map<String, String> stray = new LinkedHashMap<>(t.vifMap());
    stray.replaceAll((vif, network) -> nowhere);
    assertThat(refusedBothWays("HANDLE_INVALID", t, hosts.token(), to, stray).params())
        .containsExactly("network", nowhere);

    String isos =
        destination.text(
            "SR.create",
            destination.only("host"),
            Map.of("location", hosts.there.directory.toString()),
            0,
            "isos",
            "",
            "iso",
            "",
            false,
            Map.of());
    assertThat(
            refusedBothWays("SR_DOES_NOT_SUPPORT_MIGRATION", t, hosts.token(), isos, t.vifMap())
                .params()
                .getFirst())
        .isEqualTo(isos);

    String tight = destination.memorySr(TwoHosts.SIZE + TwoHosts.SIZE / 2);
    XenApiException full = refusedBothWays("SR_FULL", t, hosts.token(), tight, t.vifMap());
    assertThat(full.params().getFirst()).isEqualTo(Long.toString(2 * TwoHosts.SIZE));
    String pbd = TestServer.texts(destination.call("SR.get_PBDs", tight)).getFirst();
    destination.call("PBD.unplug", pbd);
    assertThat(refusedBothWays("SR_NOT_ATTACHED", t, hosts.token(), tight, t.vifMap()).params())
        .containsExactly(tight);

    var host = new io.xenferry.model.Ref<io.xenferry.model.Host>(destination.only("host"));
    var db = hosts.there.server.context().db();
    db.change(tx -> tx.set(host, io.xenferry.model.Host.ENABLED, false));
    assertThat(refusedBothWays("HOST_DISABLED", t, hosts.token(), to, t.vifMap()).params())
        .containsExactly(host.opaque());
    db.change(tx -> tx.set(host, io.xenferry.model.Host.ENABLED, true));

    Map<String, String> cpu = db.snapshot().get(host, io.xenferry.model.Host.CPU_INFO);
    Map<String, String> other = new LinkedHashMap<>(cpu);
    other.put("vendor", "another");
    db.change(tx -> tx.set(host, io.xenferry.model.Host.CPU_INFO, other));
    refusedBothWays("VM_INCOMPATIBLE_WITH_THIS_HOST", t, hosts.token(), to, t.vifMap());
    db.change(tx -> tx.set(host, io.xenferry.model.Host.CPU_INFO, cpu));

    var metrics = db.snapshot().get(host, io.xenferry.model.Host.METRICS);
    var memory = io.xenferry.model.HostMetrics.MEMORY_TOTAL;
    long total = db.snapshot().get(metrics, memory);
    db.change(tx -> tx.set(metrics, memory, 32L << 20));
    assertThat(
            refusedBothWays("HOST_NOT_ENOUGH_FREE_MEMORY", t, hosts.token(), to, t.vifMap())
                .params()
                .getFirst())
        .isEqualTo(Long.toString(64L << 20));
    db.change(tx -> tx.set(metrics, memory, total));

    assertThat(t.powerState()).isEqualTo("Running");
    t.check();
    t.end();
  }

  @Test
  void aVmThatIsThereAlreadyIsNotWelcome() throws Exception {
    Traveller t = hosts.traveller("double", 1);
    String twin =
        destination.text(
            "VM.create",
            RecordsTest.required(
                "VM",
                Map.of(
                    "name_label",
                    "double",
                    "VCPUs_max",
                    1,
                    "VCPUs_at_startup",
                    1,
                    "actions_after_shutdown",
                    "destroy")));
    var db = hosts.there.server.context().db();
    db.change(tx -> tx.set(new io.xenferry.model.Ref<>(twin), io.xenferry.model.VM.UUID, t.uuid()));
    assertThat(refusedBothWays("DUPLICATE_VM", t, hosts.token(), to, t.vifMap()).params())
        .containsExactly(t.uuid());
    destination.call("VM.destroy", twin);
  }

  @Test
  void aDestinationThatCannotBeReachedIsNamed() throws Exception {
    Traveller t = hosts.traveller("nobody", 1);
    Value token;
    try (TestServer gone = TestServer.startAt("127.0.0.3")) {
      TestServer.Calls calls = gone.calls();
      token = calls.token();
    }
    assertThat(
            assertCode(
                    "CANNOT_CONTACT_HOST",
                    () -> source.call("VM.migrate_send", t.arguments(token, to, Map.of())))
                .params())
        .containsExactly("127.0.0.3");
  }

  @Test
  void withinThePoolItsDisksMoveUnlessThePublishedServerWouldRefuse() throws Exception {
    Traveller t = hosts.traveller("stayer", 1);
    Value self = source.token();
    for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
      assertCode(
          "OPERATION_NOT_ALLOWED",
          () -> source.call(message, t.arguments(self, from, Map.of("copy", "true"))));
      assertCode(
          "VDI_NOT_IN_MAP",
          () -> source.call(message, t.vm(), self, true, Map.of(), Map.of(), Map.of()));
      assertCode(
          "OPERATION_NOT_ALLOWED", () -> source.call(message, t.arguments(self, from, Map.of())));
    }
    source.call("VM.assert_can_migrate", t.vm(), self, true, t.vdiMap(from), Map.of(), Map.of());
    // A host reference that is wrong does not hide whose token it is.
    Map<String, Value> renamed = new LinkedHashMap<>(((Value.Struct) self).members());
    renamed.put("host", Value.of("OpaqueRef:00000000-0000-4000-8000-000000000000"));
    String other = source.sr(hosts.here.directory.resolve("other"));
    assertThat(
            source.text(
                "VM.migrate_send",
                t.vm(),
                Value.Struct.of(renamed),
                true,
                t.vdiMap(other),
                Map.of(),
                Map.of()))
        .isEqualTo(t.vm());
    String vbd = TestServer.texts(source.call("VM.get_VBDs", t.vm())).getFirst();
    assertThat(source.text("VDI.get_SR", source.text("VBD.get_VDI", vbd))).isEqualTo(other);
  }

  @Test
  void whatIsForMovesBetweenServersIsRefusedWithinOne() throws Exception {
    Traveller t = hosts.traveller("picky", 1);
    Value self = source.token();
    String other = source.sr(hosts.here.directory.resolve("picky"));
    Map<String, String> vdis = t.vdiMap(other);
    Map<String, String> senseless =
        Map.of(
            "strategy", "mirror",
            "verify", "True",
            "max-downtime", "100",
            "transport", "iscsi",
            "keep-source", "1h");
    t.start();
    for (Map.Entry<String, String> option : senseless.entrySet()) {
      Map<String, String> options = Map.of(option.getKey(), option.getValue());
      for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
        assertSenseless(
            option, () -> source.call(message, t.vm(), self, true, vdis, Map.of(), options));
      }
      assertSenseless(
          option, () -> source.call("VM.pool_migrate", t.vm(), source.only("host"), options));
    }
    t.end();
    // What others than this move are to have, even nonsense, does not keep it from happening.
    String pool = source.only("pool");
    source.call("pool.add_to_other_config", pool, "xenferry:strategy", "snapshot");
    source.call("pool.add_to_other_config", pool, "xenferry:transport", "nonsense");
    try {
      Map<String, String> harmless =
          Map.of(
              "strategy",
              "auto",
              "verify",
              "false",
              "keep-source",
              "False",
              "live",
              "true",
              "force",
              "true",
              "compress",
              "true",
              "bandwidth",
              "99999999");
      source.call("VM.migrate_send", t.vm(), self, true, vdis, Map.of(), harmless);
    } finally {
      source.call("pool.remove_from_other_config", pool, "xenferry:strategy");
      source.call("pool.remove_from_other_config", pool, "xenferry:transport");
    }
    String vbd = TestServer.texts(source.call("VM.get_VBDs", t.vm())).getFirst();
    assertThat(source.text("VDI.get_SR", source.text("VBD.get_VDI", vbd))).isEqualTo(other);
  }

  private static void assertSenseless(Map.Entry<String, String> option, SessionTest.Action call) {
    assertThat(assertCode("INVALID_VALUE", call).params())
        .hasSize(2)
        .startsWith(option.getKey())
        .last()
        .asString()
        .startsWith(option.getValue() + " is for moves between servers");
  }

  @Test
  void aTooSmallSrIsRefusedBeforeAnythingMoves() throws Exception {
    Traveller t = hosts.traveller("large", 1);
    t.start();
    String small = destination.memorySr(1 << 20);
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    assertCode(
        "SR_FULL",
        () -> source.call("VM.migrate_send", t.arguments(hosts.token(), small, Map.of())));
    assertThat(t.powerState()).isEqualTo("Running");
    assertThat(TwoHosts.objects(hosts.there)).isEqualTo(before);
    t.end();
  }

  @Test
  void withinThePoolAVmStays() throws Exception {
    Traveller t = hosts.traveller("resident", 1);
    String host = source.only("host");
    String message = "VM.pool_migrate";
    assertThat(
            assertCode("VM_BAD_POWER_STATE", () -> source.call(message, t.vm(), host, Map.of()))
                .params())
        .containsExactly(t.vm(), "running", "halted");
    t.start();
    assertCode(
        "HANDLE_INVALID",
        () ->
            source.call(
                message, t.vm(), "OpaqueRef:00000000-0000-4000-8000-000000000000", Map.of()));
    assertCode(
        "OPERATION_NOT_ALLOWED", () -> source.call(message, t.vm(), host, Map.of("copy", "true")));
    assertCode("INVALID_VALUE", () -> source.call(message, t.vm(), host, Map.of("speed", "1")));
    assertThat(TestServer.texts(source.call("VM.get_allowed_operations", t.vm())))
        .contains("pool_migrate");
    source.call(message, t.vm(), host, Map.of("live", "true", "force", "false", "copy", "false"));
    assertThat(source.text("VM.get_resident_on", t.vm())).isEqualTo(host);
    assertThat(t.powerState()).isEqualTo("Running");
    source.call("host.disable", host);
    assertCode("HOST_DISABLED", () -> source.call(message, t.vm(), host, Map.of()));
    source.call("host.enable", host);
    t.end();
  }
}
