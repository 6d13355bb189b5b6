package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.vm.VmRecords;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** VMs with simulated guests. */
class LifecycleTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    sr = root.sr(server.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static String state(String vm) throws XenApiException {
    return root.text("VM.get_power_state", vm);
  }

  private static String vm(String name, Path ledger) throws XenApiException {
    String vm = root.vm(name, Map.of("xenferry:ledger", ledger.toString()));
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    return vm;
  }

  @Test
  void aVmStartsAndStops() throws Exception {
    Path ledger = server.directory.resolve("starts");
    String vm = vm("starts", ledger);
    String vdi =
        root.text("VBD.get_VDI", TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst());
    root.call("VM.start", vm, false, false);
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(root.text("VM.get_resident_on", vm)).isEqualTo(root.only("host"));
    await()
        .atMost(Duration.ofSeconds(20))
        .until(() -> Files.exists(ledger) && Files.size(ledger) > 0);
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.start", vm, false, false));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.destroy", vm));
    assertCode("VDI_IN_USE", () -> root.call("VDI.destroy", vdi));
    root.call("VM.clean_shutdown", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    root.call("VM.start_on", vm, root.only("host"), true, false);
    assertThat(state(vm)).isEqualTo("Paused");
    root.call("VM.hard_shutdown", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    root.call("VM.start", vm, false, false);
    root.call("VM.shutdown", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    root.call("VDI.destroy", vdi);
    root.call("VM.destroy", vm);
    assertCode("HANDLE_INVALID", () -> state(vm));
  }

  @Test
  void aVmWhoseGuestIsGoneIsHalted() throws Exception {
    String vm = vm("gone", server.directory.resolve("gone"));
    root.call("VM.start", vm, false, false);
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.power_state_reset", vm));
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
    // As a record that is wrong: no process is behind it.
    server
        .server
        .context()
        .db()
        .change(tx -> {
          tx.set(Ref.<VM>of(vm), VM.POWER_STATE, io.xenferry.model.VmPowerState.RUNNING);
        });
    root.call("VM.power_state_reset", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    root.call("VM.power_state_reset", vm);
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
    root.call("VM.destroy", vm);
  }

  private static String vmOf(String name, long memory) throws XenApiException {
    String vm = root.vm(name, Map.of());
    root.call("VM.set_memory_limits", vm, memory, memory, memory, memory);
    return vm;
  }

  private static long freeMemory() throws XenApiException {
    return Long.parseLong(root.text("host.compute_free_memory", root.only("host")));
  }

  @Test
  void aVmForWhichThereIsNoMemoryIsNotStarted() throws Exception {
    String vm = vmOf("large", 1L << 50);
    assertThatThrownBy(() -> root.call("VM.start", vm, false, false))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> {
              assertThat(e.code()).isEqualTo("HOST_NOT_ENOUGH_FREE_MEMORY");
              assertThat(e.params().getFirst()).isEqualTo(Long.toString(1L << 50));
              assertThat(Long.parseLong(e.params().get(1))).isBetween(0L, (1L << 50) - 1);
            });
    assertThat(state(vm)).isEqualTo("Halted");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm))).contains("start");
  }

  @Test
  void memoryIsPromisedOnce() throws Exception {
    long most = freeMemory() / 3 * 2;
    String first = vmOf("first", most);
    String second = vmOf("second", most);
    root.call("VM.start", first, true, false);
    assertCode("HOST_NOT_ENOUGH_FREE_MEMORY", () -> root.call("VM.start", second, false, false));
    assertCode(
        "HOST_NOT_ENOUGH_FREE_MEMORY",
        () -> root.call("VM.start_on", second, root.only("host"), false, false));
    root.call("VM.hard_shutdown", first);
    root.call("VM.start", second, false, false);
    root.call("VM.hard_shutdown", second);
  }

  @Test
  void aSuspendedVmWaitsUntilThereIsMemory() throws Exception {
    String vm = vm("waits", server.directory.resolve("waits"));
    root.call("VM.start", vm, false, false);
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    memory(vm, 1L << 50);
    assertCode("HOST_NOT_ENOUGH_FREE_MEMORY", () -> root.call("VM.resume", vm, false, false));
    assertThat(state(vm)).isEqualTo("Suspended");
    memory(vm, 64L << 20);
    root.call("VM.resume", vm, false, false);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }

  private static void memory(String vm, long bytes) throws Exception {
    server.server.context().db().change(tx -> tx.set(Ref.<VM>of(vm), VM.MEMORY_STATIC_MAX, bytes));
  }

  @Test
  void aVmPauses() throws Exception {
    String vm = vm("pauses", server.directory.resolve("pauses"));
    root.call("VM.start", vm, false, false);
    root.call("VM.pause", vm);
    assertThat(state(vm)).isEqualTo("Paused");
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.pause", vm));
    root.call("VM.unpause", vm);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aVmReboots() throws Exception {
    String vm = vm("reboots", server.directory.resolve("reboots"));
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_reboot", vm);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.clean_reboot", vm);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }

  private static void awaitState(String vm, String wanted) {
    await().atMost(Duration.ofSeconds(60)).until(() -> state(vm).equals(wanted));
  }

  private static long processId(String vm) throws Exception {
    Path guest =
        server.directory.resolve("guests").resolve(root.text("VM.get_uuid", vm)).resolve("pid");
    return Long.parseLong(Files.readString(guest).strip());
  }

  @Test
  void aRebootKeepsTheProcess() throws Exception {
    String vm = vm("same", server.directory.resolve("same"));
    root.call("VM.start", vm, false, false);
    long before = processId(vm);
    root.call("VM.clean_reboot", vm);
    root.call("VM.pause", vm);
    root.call("VM.hard_reboot", vm);
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(processId(vm)).isEqualTo(before);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aMachineForWhichThereIsNoMemoryIsNotMadeAnew() throws Exception {
    long most = freeMemory() / 3 * 2;
    String vm = vmOf("grows", most);
    root.call("VM.start", vm, false, false);
    long before = processId(vm);
    root.call("VM.add_to_platform", vm, "videoram", "32");
    memory(vm, 1L << 50);
    assertCode("HOST_NOT_ENOUGH_FREE_MEMORY", () -> root.call("VM.hard_reboot", vm));
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(processId(vm)).isEqualTo(before);
    // It has shut down before that is known.
    root.call("VM.clean_reboot", vm);
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(processId(vm)).isEqualTo(before);
    memory(vm, most);
    root.call("VM.hard_reboot", vm);
    assertThat(processId(vm)).as("what it has already is its own").isNotEqualTo(before);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void whatIsSetWhileAGuestShutsDownDoesNotLeaveItHalted() throws Exception {
    String vm = root.vm("changed", Map.of("xenferry:fault", "slow-power"));
    root.call("VM.start", vm, false, false);
    long before = processId(vm);
    String task = begun("VM.clean_reboot", vm);
    root.call("VM.add_to_platform", vm, "videoram", "many");
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> !root.text("task.get_status", task).equals("pending"));
    assertThat(root.text("task.get_status", task)).isEqualTo("success");
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(processId(vm)).isEqualTo(before);
    assertCode("INVALID_VALUE", () -> root.call("VM.hard_reboot", vm));
    assertThat(processId(vm)).isEqualTo(before);
    root.call("VM.hard_shutdown", vm);
  }

  private static String begun(String message, String vm) throws Exception {
    String task = root.text("Async." + message, vm);
    await().atMost(Duration.ofSeconds(60)).until(() -> operations(vm).contains(task));
    return task;
  }

  private static Set<String> operations(String vm) throws Exception {
    return ((Value.Struct) root.call("VM.get_current_operations", vm)).members().keySet();
  }

  private static void assertCancelled(String task) throws Exception {
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> !root.text("task.get_status", task).equals("pending"));
    assertThat(root.text("task.get_status", task)).isEqualTo("cancelled");
    assertThat(TestServer.texts(root.call("task.get_error_info", task)))
        .containsExactly("TASK_CANCELLED", task);
  }

  @ParameterizedTest
  @ValueSource(strings = {"VM.clean_shutdown", "VM.clean_reboot"})
  void aGuestThatDoesNotHeedItsPowerButtonCanBeForced(String asked) throws Exception {
    String vm = root.vm("deaf", Map.of("xenferry:fault", "ignore-power"));
    root.call("VM.start", vm, false, false);
    String first = begun(asked, vm);
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .containsExactlyInAnyOrder("hard_shutdown", "hard_reboot");
    for (String other : List.of("VM.clean_shutdown", "VM.clean_reboot", "VM.pause")) {
      assertCode("OTHER_OPERATION_IN_PROGRESS", () -> root.call(other, vm));
    }
    root.call("VM.hard_reboot", vm);
    assertThat(state(vm)).isEqualTo("Running");
    assertCancelled(first);

    String second = begun(asked, vm);
    root.call("VM.hard_shutdown", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    assertCancelled(second);
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  @ParameterizedTest
  @ValueSource(strings = {"VM.clean_shutdown", "VM.clean_reboot"})
  void aRebootThatIsRefusedEndsNobodysWaiting(String asked) throws Exception {
    String vm = root.vm("overruled", Map.of("xenferry:fault", "ignore-power"));
    root.call("VM.start", vm, false, false);
    long before = processId(vm);
    String task = begun(asked, vm);
    root.call("VM.add_to_platform", vm, "videoram", "32");
    long memory = Long.parseLong(root.text("VM.get_memory_static_max", vm));
    memory(vm, 1L << 50);
    assertCode("HOST_NOT_ENOUGH_FREE_MEMORY", () -> root.call("VM.hard_reboot", vm));
    root.call("VM.remove_from_platform", vm, "videoram");
    root.call("VM.add_to_platform", vm, "videoram", "many");
    assertCode("INVALID_VALUE", () -> root.call("VM.hard_reboot", vm));
    assertThat(operations(vm)).containsExactly(task);
    assertThat(root.text("task.get_status", task)).isEqualTo("pending");
    assertThat(processId(vm)).isEqualTo(before);

    root.call("VM.remove_from_platform", vm, "videoram");
    root.call("VM.add_to_platform", vm, "videoram", "32");
    memory(vm, memory);
    root.call("VM.hard_reboot", vm);
    assertCancelled(task);
    assertThat(processId(vm)).isNotEqualTo(before);
    root.call("VM.hard_shutdown", vm);
  }

  @ParameterizedTest
  @ValueSource(strings = {"VM.clean_reboot", "VM.shutdown"})
  void theWaitForAGuestCanBeCancelled(String asked) throws Exception {
    String vm = root.vm("patient", Map.of("xenferry:fault", "ignore-power"));
    root.call("VM.start", vm, false, false);
    String task = begun(asked, vm);
    assertThat(TestServer.texts(root.call("task.get_allowed_operations", task)))
        .containsExactly("cancel");
    root.call("task.cancel", task);
    assertCancelled(task);
    assertThat(state(vm)).isEqualTo("Running");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .contains("clean_shutdown", "pause");
    root.call("VM.hard_shutdown", vm);
  }

  /** The log of a guest is of use as long as there is a record of its VM. */
  @Test
  void nothingOfAGuestStaysWhenItsVmIsDestroyed() throws Exception {
    String vm = vm("leaves", server.directory.resolve("leaves"));
    String other = vm("remains", server.directory.resolve("remains"));
    root.call("VM.start", vm, false, false);
    root.call("VM.start", other, false, false);
    root.call("VM.hard_shutdown", vm);
    Path guests = server.directory.resolve("guests");
    Path left = guests.resolve(root.text("VM.get_uuid", vm));
    assertThat(left.resolve("guest.log")).exists();
    root.call("VM.destroy", vm);
    await().atMost(Duration.ofSeconds(60)).until(() -> Files.notExists(left));
    assertThat(state(other)).isEqualTo("Running");
    assertThat(processId(other)).isPositive();
    root.call("VM.hard_shutdown", other);
    assertThat(guests.resolve(root.text("VM.get_uuid", other)).resolve("guest.log")).exists();
  }

  @Test
  void aGuestThatDiesIsHalted() throws Exception {
    String vm = vm("dies", server.directory.resolve("dies"));
    root.call("VM.set_actions_after_crash", vm, "destroy");
    root.call("VM.start", vm, false, false);
    ProcessHandle.of(processId(vm)).orElseThrow().destroyForcibly();
    awaitState(vm, "Halted");
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aGuestThatDiesIsStartedAgainOnce() throws Exception {
    String vm = vm("again", server.directory.resolve("again"));
    root.call("VM.set_actions_after_crash", vm, "restart");
    root.call("VM.start", vm, false, false);
    long first = processId(vm);
    ProcessHandle.of(first).orElseThrow().destroyForcibly();
    await()
        .atMost(Duration.ofSeconds(60))
        .ignoreExceptions()
        .until(() -> state(vm).equals("Running") && processId(vm) != first);
    ProcessHandle.of(processId(vm)).orElseThrow().destroyForcibly();
    awaitState(vm, "Halted");
  }

  @Test
  void aGuestThatPanicsIsKeptWhenItIsToBe() throws Exception {
    String vm = root.vm("panics", Map.of("xenferry:fault", "panic"));
    root.call("VM.set_actions_after_crash", vm, "preserve");
    root.call("VM.start", vm, false, false);
    awaitState(vm, "Paused");
    assertThat(ProcessHandle.of(processId(vm))).isPresent();
    root.call("VM.hard_shutdown", vm);
    root.call("VM.set_actions_after_crash", vm, "destroy");
    root.call("VM.start", vm, false, false);
    awaitState(vm, "Halted");
  }

  @Test
  void aVmInDoubtIsNotDestroyed() throws Exception {
    String vm = vm("doubtful", server.directory.resolve("doubtful"));
    assertCode(
        "OPERATION_NOT_ALLOWED",
        () -> root.call("VM.add_to_other_config", vm, VmRecords.MIGRATION_KEY, "of another"));
    note(vm, Map.of("folder", "a", VmRecords.MIGRATION_KEY, "of another"));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.destroy", vm));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.start", vm, false, false));
    assertCode(
        "OPERATION_NOT_ALLOWED",
        () -> root.call("VM.remove_from_other_config", vm, VmRecords.MIGRATION_KEY));
    root.call("VM.set_other_config", vm, Map.of("folder", "b"));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.destroy", vm));
    note(vm, Map.of());
    // As read while it was there.
    root.call(
        "VM.set_other_config", vm, Map.of("folder", "c", VmRecords.MIGRATION_KEY, "of another"));
    assertThat(root.call("VM.get_other_config", vm))
        .isEqualTo(Value.Struct.of(Map.of("folder", Value.of("c"))));
    root.call("VM.destroy", vm);
  }

  private static void note(String vm, Map<String, String> config) throws Exception {
    server.server.context().db().change(tx -> tx.set(Ref.<VM>of(vm), VM.OTHER_CONFIG, config));
  }
}
