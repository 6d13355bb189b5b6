package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Two servers on loopback, simulated guests, disks over iSCSI. */
class MigrationTest {
  private static final long SIZE = 8 << 20;
  private static final Duration LONG = Duration.ofSeconds(60);

  private static TestServer here;
  private static TestServer there;
  private static TestServer.Calls source;
  private static TestServer.Calls destination;
  private static String from;
  private static String to;

  @BeforeAll
  static void start() throws Exception {
    here = TestServer.startAt("127.0.0.1");
    there = TestServer.startAt("127.0.0.2");
    source = here.calls();
    destination = there.calls();
    from = source.sr(here.directory.resolve("sr"));
    to = destination.sr(there.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    try {
      there.close();
    } finally {
      here.close();
    }
  }

  /** A VM with filled disks and a network interface, and the ledger of its writes. */
  private record Traveller(
      String vm, String uuid, List<String> vdis, List<String> uuids, Path ledger) {
    static Traveller make(String name, int disks) throws Exception {
      Path ledger = here.directory.resolve(name + ".ledger");
      // Gentle enough that copies converge at once, also on a busy machine.
      String vm =
          source.vm(
              name,
              Map.of(
                  "xenferry:ledger",
                  ledger.toString(),
                  "xenferry:workload-rate",
                  Integer.toString(512 << 10),
                  "xenferry:memory-dirty-rate",
                  Integer.toString(256 << 10)));
      List<String> vdis = new ArrayList<>();
      List<String> uuids = new ArrayList<>();
      for (int i = 0; i < disks; i++) {
        String vdi = source.vdi(from, name + i, SIZE);
        String uuid = source.text("VDI.get_uuid", vdi);
        DiskFiller.fill(
            StorageTest.image(here.directory.resolve("sr"), uuid),
            i,
            new FillPattern(SIZE, 60, 7),
            ledger);
        source.vbd(vm, vdi, i);
        vdis.add(vdi);
        uuids.add(uuid);
      }
      source.text(
          "VIF.create",
          RecordsTest.required(
              "VIF", Map.of("VM", vm, "network", source.only("network"), "device", "0")));
      return new Traveller(vm, source.text("VM.get_uuid", vm), vdis, uuids, ledger);
    }

    Map<String, String> vdiMap(String sr) {
      Map<String, String> map = new LinkedHashMap<>();
      vdis.forEach(v -> map.put(v, sr));
      return map;
    }

    Map<String, String> vifMap() throws XenApiException {
      Map<String, String> map = new LinkedHashMap<>();
      for (String vif : TestServer.texts(source.call("VM.get_VIFs", vm))) {
        map.put(vif, destination.only("network"));
      }
      return map;
    }

    Object[] arguments(Value token, String sr, Map<String, String> options) throws XenApiException {
      return new Object[] {vm, token, true, vdiMap(sr), vifMap(), options};
    }

    /** Its disks as they are at the destination. */
    List<Path> arrived() throws Exception {
      return arrived(destination.text("VM.get_by_uuid", uuid));
    }

    List<Path> arrived(String moved) throws Exception {
      List<Path> images = new ArrayList<>();
      Map<String, Path> byDevice = new java.util.TreeMap<>();
      for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
        String vdi = destination.text("VBD.get_VDI", vbd);
        byDevice.put(
            destination.text("VBD.get_userdevice", vbd),
            StorageTest.image(
                there.directory.resolve("sr"), destination.text("VDI.get_uuid", vdi)));
      }
      images.addAll(byDevice.values());
      return images;
    }
  }

  private static Value token() throws XenApiException {
    return destination.call(
        "host.migrate_receive", destination.only("host"), destination.only("network"), Map.of());
  }

  private static Map<String, Integer> objects(TestServer server) {
    Map<String, Integer> counts = new LinkedHashMap<>();
    var db = server.server.context().db().snapshot();
    for (String c : List.of("VM", "VDI", "VBD", "VIF", "VM_metrics", "SR", "PBD", "session")) {
      counts.put(c, List.copyOf(db.rows(c)).size());
    }
    return counts;
  }

  @Test
  void aTokenIssuedLeavesNothing() throws Exception {
    Map<String, Integer> before = objects(there);
    for (int i = 0; i < 5; i++) {
      assertThat(((Value.Struct) token()).members())
          .containsKeys("SM", "xenops", "host", "session_id", "master", "xenferry");
    }
    assertThat(objects(there)).isEqualTo(before);
    String session = TestServer.text(TestServer.member(token(), "session_id"));
    assertCode("SESSION_INVALID", () -> there.api.call("VM.get_all", Value.of(session)));
  }

  @Test
  void obstaclesAreNamed() throws Exception {
    Traveller t = Traveller.make("obstacles", 1);
    Value token = token();
    String assertion = "VM.assert_can_migrate";
    source.call(assertion, t.arguments(token, to, Map.of()));
    assertThat(
            assertCode(
                    "VDI_NOT_IN_MAP",
                    () -> source.call(assertion, t.vm, token, true, Map.of(), t.vifMap(), Map.of()))
                .params())
        .containsExactly(t.vdis.getFirst());
    assertCode(
        "VIF_NOT_IN_MAP",
        () -> source.call(assertion, t.vm, token, true, t.vdiMap(to), Map.of(), Map.of()));
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
    Traveller t = Traveller.make("paused", 1);
    source.call("VM.start", t.vm, true, false);
    assertCode(
        "VM_BAD_POWER_STATE",
        () -> source.call("VM.assert_can_migrate", t.arguments(token(), to, Map.of())));
    source.call("VM.hard_shutdown", t.vm);
  }

  /** Both the question and the move itself name it, and neither leaves anything behind. */
  private static XenApiException refusedBothWays(
      String code, Traveller t, Value token, String sr, Map<String, String> networks)
      throws Exception {
    Map<String, Integer> there = objects(MigrationTest.there);
    int rows = MigrationTest.there.server.coordinator().statuses().size();
    Object[] arguments = {t.vm, token, true, t.vdiMap(sr), networks, Map.of()};
    assertCode(code, () -> source.call("VM.assert_can_migrate", arguments));
    XenApiException refused = assertCode(code, () -> source.call("VM.migrate_send", arguments));
    assertThat(objects(MigrationTest.there)).isEqualTo(there);
    assertThat(MigrationTest.there.server.coordinator().statuses()).hasSize(rows);
    return refused;
  }

  @Test
  void obstaclesAtTheDestinationAreNamedBeforeAnythingBegins() throws Exception {
    Traveller t = Traveller.make("unwelcome", 2);
    source.call("VM.start", t.vm, false, false);
    String nowhere = "OpaqueRef:00000000-0000-4000-8000-000000000000";
    refusedBothWays("HANDLE_INVALID", t, token(), nowhere, t.vifMap());
    Map<String, String> stray = new LinkedHashMap<>(t.vifMap());
    stray.replaceAll((vif, network) -> nowhere);
    assertThat(refusedBothWays("HANDLE_INVALID", t, token(), to, stray).params())
        .containsExactly("network", nowhere);

    String tight = tightSr(SIZE + SIZE / 2);
    XenApiException full = refusedBothWays("SR_FULL", t, token(), tight, t.vifMap());
    assertThat(full.params().getFirst()).isEqualTo(Long.toString(2 * SIZE));
    String pbd = TestServer.texts(destination.call("SR.get_PBDs", tight)).getFirst();
    destination.call("PBD.unplug", pbd);
    assertThat(refusedBothWays("SR_NOT_ATTACHED", t, token(), tight, t.vifMap()).params())
        .containsExactly(tight);

    var host = new io.xenferry.model.Ref<io.xenferry.model.Host>(destination.only("host"));
    var db = there.server.context().db();
    db.change(tx -> tx.set(host, io.xenferry.model.Host.ENABLED, false));
    assertThat(refusedBothWays("HOST_DISABLED", t, token(), to, t.vifMap()).params())
        .containsExactly(host.opaque());
    db.change(tx -> tx.set(host, io.xenferry.model.Host.ENABLED, true));

    Map<String, String> cpu = db.snapshot().get(host, io.xenferry.model.Host.CPU_INFO);
    Map<String, String> other = new LinkedHashMap<>(cpu);
    other.put("vendor", "another");
    db.change(tx -> tx.set(host, io.xenferry.model.Host.CPU_INFO, other));
    refusedBothWays("VM_INCOMPATIBLE_WITH_THIS_HOST", t, token(), to, t.vifMap());
    db.change(tx -> tx.set(host, io.xenferry.model.Host.CPU_INFO, cpu));

    var metrics = db.snapshot().get(host, io.xenferry.model.Host.METRICS);
    var memory = io.xenferry.model.HostMetrics.MEMORY_TOTAL;
    long total = db.snapshot().get(metrics, memory);
    db.change(tx -> tx.set(metrics, memory, 32L << 20));
    assertThat(
            refusedBothWays("HOST_NOT_ENOUGH_FREE_MEMORY", t, token(), to, t.vifMap())
                .params()
                .getFirst())
        .isEqualTo(Long.toString(64L << 20));
    db.change(tx -> tx.set(metrics, memory, total));

    assertThat(source.text("VM.get_power_state", t.vm)).isEqualTo("Running");
    source.call("VM.assert_can_migrate", t.arguments(token(), to, Map.of()));
    source.call("VM.hard_shutdown", t.vm);
  }

  @Test
  void aVmThatIsThereAlreadyIsNotWelcome() throws Exception {
    Traveller t = Traveller.make("double", 1);
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
    var db = there.server.context().db();
    db.change(tx -> tx.set(new io.xenferry.model.Ref<>(twin), io.xenferry.model.VM.UUID, t.uuid));
    assertThat(refusedBothWays("DUPLICATE_VM", t, token(), to, t.vifMap()).params())
        .containsExactly(t.uuid);
    destination.call("VM.destroy", twin);
  }

  private static String tightSr(long capacity) throws XenApiException {
    return destination.text(
        "SR.create",
        destination.only("host"),
        Map.of("capacity", Long.toString(capacity)),
        0,
        "tight",
        "",
        "memory",
        "user",
        false,
        Map.of());
  }

  @Test
  void aCopyHasAnIdentityOfItsOwn() throws Exception {
    Traveller t = Traveller.make("original", 2);
    String copy = source.text("VM.migrate_send", t.arguments(token(), to, Map.of("copy", "true")));
    assertThat(destination.text("VM.get_uuid", copy)).isNotEqualTo(t.uuid);
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Halted");
    String mac = "VIF.get_MAC";
    assertThat(destination.text(mac, vif(destination, copy)))
        .isNotEqualTo(source.text(mac, vif(source, t.vm)));
    List<Path> copies = t.arrived(copy);
    assertThat(copies).hasSize(2);
    for (int i = 0; i < copies.size(); i++) {
      Path original = StorageTest.image(here.directory.resolve("sr"), t.uuids.get(i));
      assertThat(Files.mismatch(original, copies.get(i))).as("first difference").isEqualTo(-1);
    }
    source.call("VM.start", t.vm, false, false);
    destination.call("VM.start", copy, true, false);
    destination.call("VM.hard_shutdown", copy);
    source.call("VM.hard_shutdown", t.vm);
  }

  private static String vif(TestServer.Calls server, String vm) throws XenApiException {
    return TestServer.texts(server.call("VM.get_VIFs", vm)).getFirst();
  }

  @Test
  void aSourceThatIsKeptCannotStart() throws Exception {
    Traveller t = Traveller.make("kept", 1);
    source.call("VM.start", t.vm, false, false);
    String moved =
        source.text("VM.migrate_send", t.arguments(token(), to, Map.of("keep-source", "true")));
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    await().until(() -> !source.text("VM.get_uuid", t.vm).equals(t.uuid));
    assertThat(source.text("VM.get_power_state", t.vm)).isEqualTo("Halted");
    assertThat(StorageTest.image(here.directory.resolve("sr"), t.uuids.getFirst())).exists();
    assertCode("OPERATION_BLOCKED", () -> source.call("VM.start", t.vm, false, false));
    destination.call("VM.hard_shutdown", moved);
    assertThat(Verifier.verify(t.ledger, t.arrived()).good()).isTrue();
  }

  @Test
  void aDestinationThatCannotBeReachedIsNamed() throws Exception {
    Traveller t = Traveller.make("nobody", 1);
    Value token;
    try (TestServer gone = TestServer.startAt("127.0.0.3")) {
      TestServer.Calls calls = gone.calls();
      token =
          calls.call("host.migrate_receive", calls.only("host"), calls.only("network"), Map.of());
    }
    assertThat(
            assertCode(
                    "CANNOT_CONTACT_HOST",
                    () -> source.call("VM.migrate_send", t.arguments(token, to, Map.of())))
                .params())
        .containsExactly("127.0.0.3");
  }

  @Test
  void withinThePoolItIsRefusedAsThePublishedServerWouldOrSaidNotToBeBuilt() throws Exception {
    Traveller t = Traveller.make("stayer", 1);
    Value self =
        source.call("host.migrate_receive", source.only("host"), source.only("network"), Map.of());
    for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
      assertCode(
          "OPERATION_NOT_ALLOWED",
          () -> source.call(message, t.arguments(self, from, Map.of("copy", "true"))));
      assertCode(
          "VDI_NOT_IN_MAP",
          () -> source.call(message, t.vm, self, true, Map.of(), Map.of(), Map.of()));
      assertCode(
          "OPERATION_NOT_ALLOWED", () -> source.call(message, t.arguments(self, from, Map.of())));
      assertCode(
          "NOT_IMPLEMENTED",
          () -> source.call(message, t.vm, self, true, t.vdiMap(from), Map.of(), Map.of()));
      // A host reference that is wrong does not hide whose token it is.
      Map<String, Value> renamed = new LinkedHashMap<>(((Value.Struct) self).members());
      renamed.put("host", Value.of("OpaqueRef:00000000-0000-4000-8000-000000000000"));
      assertCode(
          "NOT_IMPLEMENTED",
          () ->
              source.call(
                  message,
                  t.vm,
                  Value.Struct.of(renamed),
                  true,
                  t.vdiMap(from),
                  Map.of(),
                  Map.of()));
    }
  }

  @Test
  void movesARunningVmWithItsDisks() throws Exception {
    Traveller t = Traveller.make("runner", 2);
    source.call("VM.start", t.vm, false, false);
    await().atMost(LONG).until(() -> Files.size(t.ledger) > 64 * 50);
    Map<String, Integer> before = objects(there);
    String moved = source.text("VM.migrate_send", t.arguments(token(), to, Map.of()));
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid);
    // The call returns when the record is as it will stay, and the source has nothing left.
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    assertThat(((Value.Struct) destination.call("VM.get_other_config", moved)).members())
        .doesNotContainKeys("xenferry:migration", "HideFromXenCenter");
    assertThat(destination.text("VM.get_resident_on", moved)).isEqualTo(destination.only("host"));
    assertThat(objects(there).get("VDI")).isEqualTo(before.get("VDI") + 2);
    assertThat(objects(there).get("VIF")).isEqualTo(before.get("VIF") + 1);
    assertCode("UUID_INVALID", () -> source.text("VM.get_by_uuid", t.uuid));
    for (String vdi : t.uuids) {
      assertCode("UUID_INVALID", () -> source.text("VDI.get_by_uuid", vdi));
    }
    long written = Files.size(t.ledger);
    await().atMost(LONG).until(() -> Files.size(t.ledger) > written + 64 * 50);
    List<Path> images = t.arrived();
    destination.call("VM.hard_shutdown", moved);
    Verdict verdict = Verifier.verify(t.ledger, images);
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    assertThat(verdict.handovers()).isEqualTo(1);
    // The disks are the destination's own now.
    for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
      destination.call("VDI.destroy", destination.text("VBD.get_VDI", vbd));
    }
    destination.call("VM.destroy", moved);
  }

  @Test
  void movesByReceiveAndMigrate() throws Exception {
    Traveller t = Traveller.make("halted", 1);
    Value token = destination.call("VM.receive", destination.only("host"), to, Map.of());
    String moved = source.text("VM.migrate", t.vm, token, true, Map.of());
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Halted");
    Verdict verdict = Verifier.verify(t.ledger, t.arrived());
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    destination.call("VM.start", moved, false, false);
    destination.call("VM.hard_shutdown", moved);
  }

  @Test
  void aTooSmallSrIsRefusedBeforeAnythingMoves() throws Exception {
    Traveller t = Traveller.make("large", 1);
    source.call("VM.start", t.vm, false, false);
    String small =
        destination.text(
            "SR.create",
            destination.only("host"),
            Map.of("capacity", Long.toString(1 << 20)),
            0,
            "small",
            "",
            "memory",
            "user",
            false,
            Map.of());
    Map<String, Integer> before = objects(there);
    assertCode(
        "SR_FULL", () -> source.call("VM.migrate_send", t.arguments(token(), small, Map.of())));
    assertThat(source.text("VM.get_power_state", t.vm)).isEqualTo("Running");
    assertThat(objects(there)).isEqualTo(before);
    source.call("VM.hard_shutdown", t.vm);
  }

  @Test
  void aSecondMoveIsRefusedAndACancelledOneLeavesNothing() throws Exception {
    Traveller t = Traveller.make("cancelled", 1);
    source.call("VM.start", t.vm, false, false);
    Map<String, Integer> before = objects(there);
    String task =
        source.text(
            "Async.VM.migrate_send",
            t.arguments(token(), to, Map.of("bandwidth", Integer.toString(256 << 10))));
    await().atMost(LONG).until(() -> objects(there).get("VM") > before.get("VM"));
    assertCode(
        "OTHER_OPERATION_IN_PROGRESS",
        () -> source.call("VM.migrate_send", t.arguments(token(), to, Map.of())));
    await()
        .atMost(LONG)
        .until(() ->
            !source.call("task.get_allowed_operations", task).equals(TestServer.value(List.of())));
    source.call("task.cancel", task);
    await()
        .atMost(LONG)
        .until(() ->
            !source.text("task.get_status", task).equals("cancelling")
                && !source.text("task.get_status", task).equals("pending"));
    assertThat(source.text("task.get_status", task)).isEqualTo("cancelled");
    assertThat(source.text("VM.get_power_state", t.vm)).isEqualTo("Running");
    await().atMost(LONG).untilAsserted(() -> assertThat(objects(there)).isEqualTo(before));
    long written = Files.size(t.ledger);
    await().atMost(LONG).until(() -> Files.size(t.ledger) > written + 64 * 50);
    source.call("VM.hard_shutdown", t.vm);
    Verdict verdict =
        Verifier.verify(
            t.ledger, List.of(StorageTest.image(here.directory.resolve("sr"), t.uuids.getFirst())));
    assertThat(verdict.examples()).isEmpty();
  }

  @Test
  void aMoveCancelledWhileItsDisksAreCopiedEndsAndMayBeTriedAgain() throws Exception {
    Traveller t = Traveller.make("wavering", 1);
    source.call("VM.start", t.vm, false, false);
    String task =
        source.text(
            "Async.VM.migrate_send",
            t.arguments(token(), to, Map.of("bandwidth", Integer.toString(64 << 10))));
    await()
        .atMost(LONG)
        .until(() -> movesOf(t).stream().anyMatch(s -> s.phase().equals("copying the disks")));
    source.call("task.cancel", task);
    await().atMost(LONG).until(() -> source.text("task.get_status", task).equals("cancelled"));
    await()
        .atMost(LONG)
        .untilAsserted(() -> assertThat(movesOf(t)).allMatch(MigrationStatus::ended));
    String moved = source.text("VM.migrate_send", t.arguments(token(), to, Map.of()));
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid);
    await()
        .atMost(LONG)
        .until(() -> destination.text("VM.get_power_state", moved).equals("Running"));
    destination.call("VM.hard_shutdown", moved);
  }

  /** How a guest may end that nobody asks the move about. */
  private enum End {
    HARD_SHUTDOWN("stopped while it was being moved") {
      @Override
      void of(Traveller t) throws Exception {
        source.call("VM.hard_shutdown", t.vm);
      }
    },
    CLEAN_SHUTDOWN("while it was being moved") {
      @Override
      void of(Traveller t) throws Exception {
        source.call("VM.clean_shutdown", t.vm);
      }
    },
    CRASH("stopped while it was being moved") {
      @Override
      void of(Traveller t) throws Exception {
        Path pid = here.directory.resolve("guests").resolve(t.uuid).resolve("pid");
        ProcessHandle.of(Long.parseLong(Files.readString(pid).strip()))
            .orElseThrow()
            .destroyForcibly();
      }
    };

    private final String sentence;

    End(String sentence) {
      this.sentence = sentence;
    }

    abstract void of(Traveller t) throws Exception;
  }

  /** Slow enough that much can happen before the disks are copied. */
  private static String beginToMove(Traveller t, long bytesPerSecond) throws Exception {
    String task =
        source.text(
            "Async.VM.migrate_send",
            t.arguments(token(), to, Map.of("bandwidth", Long.toString(bytesPerSecond))));
    await()
        .atMost(LONG)
        .until(() -> movesOf(t).stream().anyMatch(s -> s.phase().equals("copying the disks")));
    return task;
  }

  @ParameterizedTest
  @EnumSource(End.class)
  void aVmThatEndsWhileItMovesStaysHaltedAndTheMoveSaysSo(End end) throws Exception {
    Traveller t = Traveller.make("quitter-" + end, 1);
    source.call("VM.start", t.vm, false, false);
    Map<String, Integer> before = objects(there);
    String task = beginToMove(t, 64 << 10);
    end.of(t);
    await().atMost(LONG).until(() -> source.text("task.get_status", task).equals("failure"));
    List<String> error = TestServer.texts(source.call("task.get_error_info", task));
    assertThat(error).first().isEqualTo("VM_MIGRATE_FAILED");
    assertThat(error).last().asString().contains(end.sentence);
    await()
        .atMost(LONG)
        .untilAsserted(
            () -> assertThat(source.text("VM.get_power_state", t.vm)).isEqualTo("Halted"));
    await()
        .atMost(LONG)
        .untilAsserted(() -> {
          assertThat(movesOf(t)).allMatch(MigrationStatus::ended);
          assertThat(objects(there)).isEqualTo(before);
        });
    Verdict verdict =
        Verifier.verify(
            t.ledger, List.of(StorageTest.image(here.directory.resolve("sr"), t.uuids.getFirst())));
    assertThat(verdict.examples()).isEmpty();
    source.call("VM.start", t.vm, false, false);
    source.call("VM.hard_shutdown", t.vm);
  }

  @Test
  void aVmThatIsResetWhileItMovesGoesOnMoving() throws Exception {
    Traveller t = Traveller.make("restless", 1);
    source.call("VM.start", t.vm, false, false);
    String task = beginToMove(t, 2 << 20);
    source.call("VM.hard_reboot", t.vm);
    await().atMost(LONG).until(() -> source.text("task.get_status", task).equals("success"));
    String moved = destination.text("VM.get_by_uuid", t.uuid);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    List<Path> images = t.arrived();
    destination.call("VM.hard_shutdown", moved);
    assertThat(Verifier.verify(t.ledger, images).examples()).isEmpty();
  }

  @Test
  void movesAgainAfterBeingCancelledAtAnyMoment() throws Exception {
    Traveller t = Traveller.make("fickle", 1);
    source.call("VM.start", t.vm, false, false);
    Map<String, Integer> before = objects(there);
    for (String moment :
        List.of(
            "opening at the destination",
            "connecting to the destination's disks",
            "copying the disks",
            "sending the memory",
            "waiting for the hypervisor to pause the guest",
            "draining the last dirty blocks")) {
      AtomicBoolean done = new AtomicBoolean();
      try (AutoCloseable listener =
          here.server
              .coordinator()
              .listen(status -> {
                if (status.vm().toString().equals(t.uuid)
                    && status.phase().equals(moment)
                    && !status.ended()
                    && done.compareAndSet(false, true)) {
                  here.server.coordinator().cancel(status.migration(), Role.SOURCE);
                }
              })) {
        XenApiException cancelled =
            assertCode(
                "TASK_CANCELLED",
                () -> source.call("VM.migrate_send", t.arguments(token(), to, Map.of())));
        assertThat(cancelled.params()).as(moment).hasSize(1);
      }
      assertThat(source.text("VM.get_power_state", t.vm)).as(moment).isEqualTo("Running");
      // Nothing of it is left on either side, and so the VM is free to move again.
      await()
          .atMost(LONG)
          .untilAsserted(() -> {
            assertThat(movesOf(t)).as(moment).allMatch(MigrationStatus::ended);
            assertThat(objects(there)).as(moment).isEqualTo(before);
          });
      long written = Files.size(t.ledger);
      await().atMost(LONG).until(() -> Files.size(t.ledger) > written + 64 * 20);
    }
    String moved = source.text("VM.migrate_send", t.arguments(token(), to, Map.of()));
    List<Path> images = t.arrived();
    destination.call("VM.hard_shutdown", moved);
    Verdict verdict = Verifier.verify(t.ledger, images);
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
  }

  private static List<MigrationStatus> movesOf(Traveller t) {
    return here.server.coordinator().statuses().stream()
        .filter(s -> s.vm().toString().equals(t.uuid))
        .toList();
  }
}
