package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.SqliteLedger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.task.Task;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Servers that are started where one before them died in the midst of an operation, with simulated
 * guests. How that server left them is told to the guest and to the database here.
 */
class InterruptedOperationsTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final String NONE = "OpaqueRef:NULL";

  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    Path directory = Files.createTempDirectory("xenferry");
    server = TestServer.startAt("127.0.0.1", directory, database(directory));
    root = server.calls();
    sr = root.sr(directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static ObjectDatabase database(Path directory) throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  private static void nextServer() throws Exception {
    server = server.again(() -> database(server.directory));
    root = server.calls();
  }

  private static String vm(String name, boolean paused) throws Exception {
    String vm = root.vm(name, Map.of());
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    root.call("VM.start", vm, paused, false);
    return vm;
  }

  private static String state(String vm) throws XenApiException {
    return root.text("VM.get_power_state", vm);
  }

  private static Task task() throws Exception {
    return server
        .server
        .context()
        .tasks()
        .start("work", "", Ref.nullRef(), "root", Ref.nullRef(), true);
  }

  private static void begun(String vm, VmOperations operation, Task task) throws Exception {
    server
        .server
        .context()
        .db()
        .change(tx -> tx.set(Ref.<VM>of(vm), VM.CURRENT_OPERATIONS, Map.of(task.ref(), operation)));
  }

  private static String image(String vm) throws Exception {
    String image =
        root.text(
            "VDI.create",
            RecordsTest.required(
                "VDI",
                Map.of(
                    "name_label",
                    "Suspend image",
                    "SR",
                    sr,
                    "virtual_size",
                    16 << 20,
                    "type",
                    "suspend")));
    server
        .server
        .context()
        .db()
        .change(tx -> tx.set(Ref.<VM>of(vm), VM.SUSPEND_VDI, Ref.<VDI>of(image)));
    return image;
  }

  private static void monitor(String vm, String command) throws Exception {
    GuestMonitor.execute(server, root.text("VM.get_uuid", vm), command, Map.of());
  }

  private static String guest(String vm) throws Exception {
    String uuid = root.text("VM.get_uuid", vm);
    return GuestMonitor.execute(server, uuid, "query-status", Map.of()).path("status").asText();
  }

  private static Path process(String vm) throws Exception {
    return server.directory.resolve("guests").resolve(root.text("VM.get_uuid", vm)).resolve("pid");
  }

  private static void assertNothingUnderWay(String vm) throws Exception {
    assertThat(((Value.Struct) root.call("VM.get_current_operations", vm)).members()).isEmpty();
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo(NONE);
  }

  @Test
  void aGuestThatWasBeingSuspendedGoesOn() throws Exception {
    String vm = vm("suspending", false);
    List<String> vdis = root.all("VDI");
    String image = image(vm);
    begun(vm, VmOperations.SUSPEND, task());
    monitor(vm, "stop");

    nextServer();

    assertThat(state(vm)).isEqualTo("Running");
    assertThat(guest(vm)).isEqualTo("running");
    assertNothingUnderWay(vm);
    assertThat(root.all("VDI")).doesNotContain(image).hasSameElementsAs(vdis);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aGuestThatWasBeingSuspendedAfterItsMoveCameToNothingGoesOn() throws Exception {
    String vm = vm("stayed", false);
    UUID uuid = UUID.fromString(root.text("VM.get_uuid", vm));
    String host = root.text("host.get_uuid", root.only("host"));
    image(vm);
    begun(vm, VmOperations.SUSPEND, task());
    monitor(vm, "stop");

    server =
        server.again(() -> {
          stayed(uuid, host);
          return database(server.directory);
        });
    root = server.calls();

    await().atMost(PATIENCE).untilAsserted(() -> assertThat(guest(vm)).isEqualTo("running"));
    assertThat(state(vm)).isEqualTo("Running");
    assertNothingUnderWay(vm);
    root.call("VM.hard_shutdown", vm);
  }

  /** Its move has gone back, and the guest been let go on; the destination has not answered. */
  private static void stayed(UUID vm, String host) throws Exception {
    Plan plan = new Plan(vm, vm, "vm", Plan.Power.RUNNING, 1, List.of(), false, false, Map.of());
    LedgerRow row =
        new LedgerRow(
            new MigrationId(UUID.randomUUID()),
            Role.SOURCE,
            vm,
            State.SENDING,
            "http://127.0.0.1:9",
            "",
            UUID.randomUUID(),
            "ab".repeat(32),
            "",
            StrictJson.text(plan),
            "{}",
            Optional.empty(),
            false,
            false,
            false,
            false,
            Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip(),
            Instant.now(),
            Instant.now(),
            Instant.now().plus(Duration.ofHours(1)),
            0);
    try (Ledger ledger =
        SqliteLedger.open(
            server.directory.resolve("ledger.db"),
            server.directory.resolve("ledger.marker"),
            host,
            new SecureRandomness(),
            Instant::now)) {
      LedgerRow sending = ledger.insert(row);
      ledger.update(
          sending,
          sending.withState(State.OWNED).withSteering(Steering.of(plan).nowLetGo().text()));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aGuestThatWasBeingResumedRunsUnlessItWasToBePaused(boolean startPaused) throws Exception {
    String vm = vm("resuming", true);
    List<String> vdis = root.all("VDI");
    String image = image(vm);
    Task task = task();
    if (startPaused) {
      task.note("start_paused", "true");
    }
    begun(vm, VmOperations.RESUME, task);

    nextServer();

    assertThat(state(vm)).isEqualTo(startPaused ? "Paused" : "Running");
    assertThat(guest(vm).equals("running")).isEqualTo(!startPaused);
    assertNothingUnderWay(vm);
    assertThat(root.all("VDI")).doesNotContain(image).hasSameElementsAs(vdis);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void resumingPausedIsNotedWithItsTask() throws Exception {
    String vm = vm("noted", false);
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    String task = root.text("Async.VM.resume", vm, true, false);
    await().atMost(PATIENCE).until(() -> root.text("task.get_status", task).equals("success"));
    Row row = server.server.context().db().snapshot().row("task", task).orElseThrow();
    assertThat(new Schema().textMap(row, "server_notes")).containsEntry("start_paused", "true");
    assertThat(state(vm)).isEqualTo("Paused");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aVmThatIsStillSuspendedKeepsItsMemory() throws Exception {
    String vm = vm("suspended", true);
    String image = image(vm);
    begun(vm, VmOperations.RESUME, task());
    server
        .server
        .context()
        .db()
        .change(tx -> tx.set(Ref.<VM>of(vm), VM.POWER_STATE, VmPowerState.SUSPENDED));
    ProcessHandle guest =
        ProcessHandle.of(Long.parseLong(Files.readString(process(vm)).strip())).orElseThrow();

    nextServer();

    assertThat(state(vm)).isEqualTo("Suspended");
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo(image);
    await().atMost(PATIENCE).until(() -> !guest.isAlive());
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm))).contains("resume");
    root.call("VM.hard_shutdown", vm);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aGuestThatWasToRebootDoesSo(boolean shutDownBefore) throws Exception {
    String vm = vm("rebooting", false);
    Task task = task();
    begun(vm, VmOperations.CLEAN_REBOOT, task);
    String process = Files.readString(process(vm));
    if (shutDownBefore) {
      monitor(vm, "system_powerdown");
      assertThat(guest(vm)).isEqualTo("shutdown");
    }

    nextServer();

    if (!shutDownBefore) {
      assertThat(root.text("task.get_status", task.ref())).isEqualTo("pending");
      assertThat(((Value.Struct) root.call("VM.get_current_operations", vm)).members())
          .containsOnlyKeys(task.ref());
      monitor(vm, "system_powerdown");
    }

    await()
        .atMost(PATIENCE)
        .until(() -> !root.text("task.get_status", task.ref()).equals("pending"));
    assertThat(root.text("task.get_status", task.ref())).isEqualTo("success");
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(guest(vm)).isEqualTo("running");
    assertThat(Files.readString(process(vm))).as("the same process").isEqualTo(process);
    assertNothingUnderWay(vm);
    root.call("VM.hard_shutdown", vm);
  }
}
