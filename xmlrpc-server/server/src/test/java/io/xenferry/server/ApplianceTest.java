package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** VMs that belong together, with simulated guests. */
class ApplianceTest {
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

  private static String appliance(String name) throws XenApiException {
    return root.text(
        "VM_appliance.create", Map.of("name_label", name, "name_description", "several VMs"));
  }

  private static String vm(String name, String appliance) throws XenApiException {
    String vm = root.vm(name, Map.of());
    root.call("VM.set_appliance", vm, appliance);
    return vm;
  }

  private static List<String> allowed(String appliance) throws XenApiException {
    return TestServer.texts(root.call("VM_appliance.get_allowed_operations", appliance));
  }

  private static String state(String vm) throws XenApiException {
    return root.text("VM.get_power_state", vm);
  }

  @Test
  void itsVmsStartAndStopTogether() throws Exception {
    String appliance = appliance("shop");
    String first = vm("database", appliance);
    String second = vm("web", appliance);
    root.call("VM_appliance.start", appliance, true);
    assertThat(List.of(state(first), state(second))).containsOnly("Paused");
    root.call("VM_appliance.hard_shutdown", appliance);
    assertThat(List.of(state(first), state(second))).containsOnly("Halted");
    root.call("VM_appliance.start", appliance, false);
    assertThat(List.of(state(first), state(second))).containsOnly("Running");
    root.call("VM_appliance.clean_shutdown", appliance);
    assertThat(List.of(state(first), state(second))).containsOnly("Halted");
    root.call("VM.start", first, false, false);
    root.call("VM.start", second, true, false);
    root.call("VM_appliance.shutdown", appliance);
    assertThat(List.of(state(first), state(second))).containsOnly("Halted");
    assertThat(TestServer.member(record(appliance), "current_operations"))
        .isEqualTo(Value.EMPTY_STRUCT);
  }

  private static Value record(String appliance) throws XenApiException {
    return root.call("VM_appliance.get_record", appliance);
  }

  @Test
  void oneThatFailsKeepsNoOtherFromItsTurn() throws Exception {
    String appliance = appliance("partly");
    String large = vm("large", appliance);
    root.call("VM.set_memory_limits", large, 1L << 50, 1L << 50, 1L << 50, 1L << 50);
    String small = vm("small", appliance);
    root.call("VM.set_order", large, 0);
    root.call("VM.set_order", small, 1);
    XenApiException e =
        assertCode(
            "OPERATION_PARTIALLY_FAILED", () -> root.call("VM_appliance.start", appliance, false));
    assertThat(e.params()).containsExactly("VM_appliance.start", large);
    assertThat(state(small)).isEqualTo("Running");
    root.call("VM_appliance.hard_shutdown", appliance);
    assertThat(state(small)).isEqualTo("Halted");
  }

  @Test
  void whatMayBeDoneFollowsItsVms() throws Exception {
    String appliance = appliance("followed");
    assertThat(allowed(appliance)).isEmpty();
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM_appliance.start", appliance, false));
    String vm = vm("one", appliance);
    assertThat(allowed(appliance)).containsExactly("start");
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM_appliance.shutdown", appliance));
    String other = vm("other", appliance);
    root.call("VM.start", vm, false, false);
    assertThat(allowed(appliance))
        .containsExactly("start", "clean_shutdown", "hard_shutdown", "shutdown");
    root.call("VM.set_appliance", other, Ref.nullRef().opaque());
    assertThat(allowed(appliance)).containsExactly("clean_shutdown", "hard_shutdown", "shutdown");
    root.call("VM.pause", vm);
    assertThat(allowed(appliance)).containsExactly("hard_shutdown", "shutdown");
    root.call("VM.hard_shutdown", vm);
    root.call("VM.destroy", vm);
    assertThat(allowed(appliance)).isEmpty();
    assertCode("HANDLE_INVALID", () -> root.call("VM.set_appliance", other, "OpaqueRef:none"));
    String template =
        TestServer.texts(root.call("VM.get_by_name_label", "Other install media")).getFirst();
    assertCode("VM_IS_TEMPLATE", () -> root.call("VM.set_appliance", template, appliance));
    assertCode("HANDLE_INVALID", () -> root.call("VM_appliance.start", "OpaqueRef:none", false));
  }

  @Test
  void itsVmsOutliveIt() throws Exception {
    String appliance = appliance("short-lived");
    String vm = vm("survivor", appliance);
    assertThat(TestServer.texts(TestServer.member(record(appliance), "VMs"))).containsExactly(vm);
    root.call("VM_appliance.destroy", appliance);
    assertThat(root.text("VM.get_appliance", vm)).isEqualTo(Ref.nullRef().opaque());
    assertCode("HANDLE_INVALID", () -> record(appliance));
  }

  @Test
  void whatIsMadeOfAVmBelongsToNoAppliance() throws Exception {
    String appliance = appliance("alone");
    String vm = vm("original", appliance);
    String snapshot = root.text("VM.snapshot", vm, "taken", List.of());
    String clone = root.text("VM.clone", vm, "cloned");
    for (String made : List.of(snapshot, clone)) {
      assertThat(root.text("VM.get_appliance", made)).isEqualTo(Ref.nullRef().opaque());
    }
    root.call("VM.revert", snapshot);
    assertThat(root.text("VM.get_appliance", vm)).isEqualTo(appliance);
  }
}
