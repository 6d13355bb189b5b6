package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.XenApiException;
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
