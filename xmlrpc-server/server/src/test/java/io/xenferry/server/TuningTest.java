package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Processors and memory of running VMs, with simulated guests. */
class TuningTest {
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

  private static long metric(String vm, String name) throws XenApiException {
    String metrics = root.text("VM.get_metrics", vm);
    return Long.parseLong(root.text("VM_metrics.get_" + name, metrics));
  }

  @Test
  void processorsComeAndGo() throws Exception {
    String vm = root.vm("processors", Map.of());
    root.call("VM.set_VCPUs_max", vm, 3);
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.set_VCPUs_number_live", vm, 2));
    root.call("VM.start", vm, false, false);
    root.call("VM.set_VCPUs_number_live", vm, 3);
    assertThat(metric(vm, "VCPUs_number")).isEqualTo(3);
    root.call("VM.set_VCPUs_number_live", vm, 2);
    assertThat(metric(vm, "VCPUs_number")).isEqualTo(2);
    assertThat(root.text("VM.get_VCPUs_at_startup", vm)).isEqualTo("2");
    assertCode("VM_TOO_MANY_VCPUS", () -> root.call("VM.set_VCPUs_number_live", vm, 4));
    assertCode("INVALID_VALUE", () -> root.call("VM.set_VCPUs_number_live", vm, 0));
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void processorsShareTheHost() throws Exception {
    String vm = root.vm("sharing", Map.of());
    root.call("VM.set_VCPUs_params", vm, Map.of("weight", "128", "mask", "0,900"));
    assertCode(
        "VM_BAD_POWER_STATE", () -> root.call("VM.add_to_VCPUs_params_live", vm, "weight", "64"));
    root.call("VM.start", vm, false, false);
    assertThat(scheduling(vm)).isEqualTo("128 [[0,900]]");
    root.call("VM.add_to_VCPUs_params_live", vm, "weight", "64");
    assertThat(scheduling(vm)).isEqualTo("64 [[0,900]]");
    assertThat(params(vm)).containsEntry("weight", Value.of("64"));
    assertCode(
        "OPERATION_NOT_ALLOWED", () -> root.call("VM.add_to_VCPUs_params_live", vm, "mask", "901"));
    assertCode("INVALID_VALUE", () -> root.call("VM.add_to_VCPUs_params_live", vm, "weight", "0"));
    assertThat(params(vm)).containsEntry("mask", Value.of("0,900"));
    root.call("VM.set_VCPUs_params", vm, Map.of());
    assertThat(scheduling(vm)).as("it counts from the next start on").startsWith("64 ");
    root.call("VM.hard_shutdown", vm);

    String host = root.only("host");
    root.call("host.add_to_guest_VCPUs_params", host, "mask", "0,1");
    root.call("VM.add_to_VCPUs_params", vm, "mask", "1, 2;0");
    root.call("VM.start", vm, false, false);
    assertThat(scheduling(vm)).isEqualTo("256 [[1],[0]]");
    root.call("VM.hard_shutdown", vm);
    root.call("host.set_guest_VCPUs_params", host, Map.of());
  }

  @Test
  void whatProcessorsShareIsChecked() throws Exception {
    String vm = root.vm("checked", Map.of());
    for (String mask : List.of("", "a", "0-3", "0,", "1024", "1;", "-1")) {
      assertCode("INVALID_VALUE", () -> root.call("VM.add_to_VCPUs_params", vm, "mask", mask));
    }
    for (String weight : List.of("", "0", "65536", "1.5")) {
      assertCode("INVALID_VALUE", () -> root.call("VM.add_to_VCPUs_params", vm, "weight", weight));
    }
    assertCode("NOT_IMPLEMENTED", () -> root.call("VM.set_VCPUs_params", vm, Map.of("cap", "50")));
    root.call("VM.set_VCPUs_params", vm, Map.of("cap", "0", "weight", "65535"));
    root.call("VM.remove_from_VCPUs_params", vm, "weight");
    assertThat(params(vm)).isEqualTo(Map.of("cap", Value.of("0")));
    String host = root.only("host");
    assertCode(
        "INVALID_VALUE", () -> root.call("host.add_to_guest_VCPUs_params", host, "mask", "x"));
    root.call("host.add_to_guest_VCPUs_params", host, "mask", "0");
    root.call("host.remove_from_guest_VCPUs_params", host, "mask");
    root.call("host.set_guest_VCPUs_params", host, Map.of());
  }

  private static String scheduling(String vm) throws Exception {
    JsonNode guest = server.guest(root.text("VM.get_uuid", vm));
    return guest.path("weight") + " " + guest.path("masks");
  }

  private static Map<String, Value> params(String vm) throws Exception {
    return ((Value.Struct) root.call("VM.get_VCPUs_params", vm)).members();
  }

  @Test
  void processorsThatAreEmulatedStay() throws Exception {
    String vm = root.vm("emulated", Map.of("xenferry:accel", "tcg"));
    root.call("VM.set_VCPUs_max", vm, 2);
    root.call("VM.start", vm, false, false);
    root.call("VM.set_VCPUs_number_live", vm, 2);
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.set_VCPUs_number_live", vm, 1));
    assertThat(metric(vm, "VCPUs_number")).isEqualTo(2);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aVmStartsWithItsDynamicMaximum() throws Exception {
    String vm = root.vm("dynamic", Map.of());
    root.call("VM.set_memory_dynamic_range", vm, 16 << 20, 32 << 20);
    root.call("VM.start", vm, false, false);
    root.call("VM.wait_memory_target_live", vm);
    assertThat(metric(vm, "memory_actual")).isEqualTo(32 << 20);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void memoryIsTakenAndGiven() throws Exception {
    String vm = root.vm("memory", Map.of());
    root.call("VM.start", vm, false, false);
    root.call("VM.set_memory_dynamic_range", vm, 16 << 20, 32 << 20);
    root.call("VM.wait_memory_target_live", vm);
    assertThat(metric(vm, "memory_actual")).isEqualTo(32 << 20);
    root.call("VM.set_memory_target_live", vm, 64 << 20);
    root.call("VM.wait_memory_target_live", vm);
    assertThat(metric(vm, "memory_actual")).isEqualTo(64 << 20);
    assertCode(
        "MEMORY_CONSTRAINT_VIOLATION_ORDER",
        () -> root.call("VM.set_memory_target_live", vm, 128 << 20));
    root.call("VM.hard_shutdown", vm);
  }
}
