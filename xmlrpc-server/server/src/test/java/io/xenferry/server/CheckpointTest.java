package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Snapshots with memory, of VMs in QEMU whose BIOS counts the ticks of its clock. */
class CheckpointTest {
  private static final long SIZE = 8 << 20;
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;
  private static String rawSr;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("qemu-img", "qemu-nbd", "qemu-system-x86_64");
    LayeredSite site = LayeredSite.start("127.0.0.1");
    server = site.server();
    root = site.root();
    sr = site.sr();
    rawSr = site.rawSr();
    root.call("pool.set_suspend_image_SR", root.only("pool"), sr);
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static long ticks(String vm) throws Exception {
    return GuestMonitor.ticks(server, root.text("VM.get_uuid", vm));
  }

  private static String vm(String name, String repository) throws Exception {
    String vm = root.vm(name, Map.of());
    root.vbd(vm, root.vdi(repository, name, SIZE), 0);
    root.call("VM.start", vm, false, false);
    await().atMost(PATIENCE).until(() -> ticks(vm) > 20);
    return vm;
  }

  private static void io(String vm, String... commands) throws Exception {
    GuestMonitor.io(server, root.text("VM.get_uuid", vm), commands);
  }

  @Test
  void aRunningVmGoesBackInMemory() throws Exception {
    String vm = vm("thinker", sr);
    io(vm, "write -P 1 0 1M");
    long before = ticks(vm);

    String checkpoint = root.text("VM.checkpoint", vm, "then");

    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    long after = ticks(vm);
    assertThat(after).isGreaterThanOrEqualTo(before);
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo("OpaqueRef:NULL");
    Map<String, Value> record = root.record("VM", checkpoint);
    assertThat(record.get("power_state")).isEqualTo(Value.of("Suspended"));
    assertThat(record.get("is_a_snapshot")).isEqualTo(Value.of(true));
    assertThat(record.get("snapshot_of")).isEqualTo(Value.of(vm));
    String image = root.text("VM.get_suspend_VDI", checkpoint);
    assertThat(root.text("VDI.get_type", image)).isEqualTo("suspend");
    assertCode("VM_IS_SNAPSHOT", () -> root.call("VM.resume", checkpoint, false, false));
    io(vm, "write -P 2 0 1M");
    await().atMost(PATIENCE).until(() -> ticks(vm) > after + 40);
    for (int i = 0; i < 2; i++) {
      root.call("VM.revert", checkpoint);
      assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Suspended");
      assertThat(root.text("VM.get_suspend_VDI", vm)).isNotEqualTo(image);
      root.call("VM.resume", vm, true, false);
      assertThat(ticks(vm)).as("ticks of the memory").isBetween(before, after);
      io(vm, "read -P 1 0 1M");
      root.call("VM.unpause", vm);
      long now = ticks(vm);
      await().atMost(PATIENCE).until(() -> ticks(vm) > now);
      io(vm, "write -P 3 0 1M");
    }
    String clone = root.text("VM.clone", checkpoint, "other");
    assertThat(root.text("VM.get_power_state", clone)).isEqualTo("Halted");
    assertThat(root.text("VM.get_suspend_VDI", clone)).isEqualTo("OpaqueRef:NULL");
    root.call("VM.destroy", clone);
    // Clients shut down what they destroy, and does not run, by force.
    String other = root.text("VM.checkpoint", vm, "given up");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", other)))
        .contains("hard_shutdown");
    root.call("VM.hard_shutdown", other);
    assertThat(root.text("VM.get_power_state", other)).isEqualTo("Halted");
    assertThat(root.text("VM.get_suspend_VDI", other)).isEqualTo("OpaqueRef:NULL");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", other)))
        .doesNotContain("hard_shutdown");
    root.call("VM.destroy", other);
    // One that is suspended goes back as well.
    root.call("VM.suspend", vm);
    root.call("VM.revert", checkpoint);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Suspended");
    root.call("VM.hard_shutdown", vm);
    root.call("VM.destroy", checkpoint);
    assertThat(root.all("VDI")).doesNotContain(image);
    assertThat(root.all("VDI").stream().filter(vdi -> type(vdi).equals("suspend")).toList())
        .isEmpty();
  }

  private static String type(String vdi) {
    try {
      return root.text("VDI.get_type", vdi);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void aVmThatCannotHaveOneGoesOn() throws Exception {
    String vm = vm("plain", rawSr);
    List<String> vdis = root.all("VDI");
    assertCode("VDI_IN_USE", () -> root.call("VM.checkpoint", vm, "never"));
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo("OpaqueRef:NULL");
    assertThat(root.all("VDI")).hasSameElementsAs(vdis);
    long now = ticks(vm);
    await().atMost(PATIENCE).until(() -> ticks(vm) > now);
    root.call("VM.hard_shutdown", vm);
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.checkpoint", vm, "never"));
  }
}
