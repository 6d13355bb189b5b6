package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Snapshots of running VMs go, and their images are merged while QEMU has them. */
class LiveMergeTest {
  private static final long SIZE = 16 << 20;
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static TestServer server;
  private static TestServer.Calls root;
  private static LayeredSr layers;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("qemu-img", "qemu-io", "qemu-system-x86_64");
    server =
        TestServer.startAt(
            "127.0.0.1", config -> config.with(config.toolstack().withHypervisor("qemu")));
    root = server.calls();
    layers = new LayeredSr(server, root);
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static String parent(String vdi) throws Exception {
    return ((Value.Struct) root.record("VDI", vdi).get("sm_config"))
        .members()
        .getOrDefault("image-parent", Value.of(""))
        .toString();
  }

  @Test
  void theChainBelowARunningGuestBecomesOneImage() throws Exception {
    String vm = layers.vm("busy", SIZE);
    layers.io(vm, "write -P 1 0 1M", "write -P 1 1M 1M", "write -P 1 2M 1M");
    String first = root.text("VM.snapshot", vm, "one", List.of());
    layers.io(vm, "write -P 2 1M 1M", "write -P 2 2M 1M");
    String second = root.text("VM.snapshot", vm, "two", List.of());
    layers.io(vm, "write -P 3 2M 1M", "discard 3M 1M");
    layers.awaitImages(3);

    layers.destroy(first);
    layers.awaitImages(2);
    layers.io(vm, "read -P 1 0 1M", "read -P 2 1M 1M", "read -P 3 2M 1M", "write -P 4 0 64k");
    long before = Long.parseLong(root.text("VDI.get_physical_utilisation", layers.disk(second)));
    assertThat(before).isGreaterThan(2 << 20);
    layers.destroy(second);
    layers.awaitImages(1);

    String vdi = layers.disk(vm);
    layers.io(vm, "read -P 4 0 64k", "read -P 1 512k 512k", "read -P 3 2M 1M", "write -P 5 4M 1M");
    await()
        .atMost(PATIENCE)
        .untilAsserted(() ->
            assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", vdi)))
                .isGreaterThan(2 << 20));
    assertThat(parent(vdi)).isEqualTo(Value.of("").toString());
    assertThat(layers.merges("success")).isNotEmpty();
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    // It goes on as any other: snapshots, growth, the end.
    String third = root.text("VM.snapshot", vm, "three", List.of());
    root.call("VDI.resize_online", vdi, 2 * SIZE);
    layers.io(vm, "write -P 6 20M 1M");
    layers.destroy(third);
    layers.awaitImages(1);
    assertThat(root.text("VDI.get_virtual_size", vdi)).isEqualTo("" + 2 * SIZE);
    layers.io(vm, "read -P 6 20M 1M", "read -P 5 4M 1M");
    root.call("VM.hard_shutdown", vm);
    layers.check("read -P 6 20M 1M", "read -P 5 4M 1M", "read -P 4 0 64k");
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", vdi);
    layers.awaitImages(0);
  }

  private static long used(String vdi) throws Exception {
    return Long.parseLong(root.text("VDI.get_physical_utilisation", vdi));
  }

  @Test
  void whatAHaltedVmTakesUpIsRightAfterAMerge() throws Exception {
    String vm = layers.vm("halted", SIZE);
    layers.io(vm, "write -f -P 1 0 3M");
    String snapshot = root.text("VM.snapshot", vm, "one", List.of());
    layers.io(vm, "write -f -P 2 3M 1M");
    root.call("VM.hard_shutdown", vm);
    String vdi = layers.disk(vm);
    root.call("SR.scan", layers.ref);
    assertThat(used(vdi)).isLessThan(3 << 20);
    assertThat(parent(vdi)).isNotEqualTo(Value.of("").toString());

    layers.destroy(snapshot);
    layers.awaitImages(1);

    await().atMost(PATIENCE).untilAsserted(() -> assertThat(used(vdi)).isGreaterThan(4 << 20));
    assertThat(parent(vdi)).isEqualTo(Value.of("").toString());
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", vdi);
    layers.awaitImages(0);
  }

  @Test
  void aMergeIsCancelledByWhoeverWorksWithTheDisk() throws Exception {
    root.call("SR.add_to_other_config", layers.ref, "xenferry:merge-bandwidth", "65536");
    String vm = layers.vm("slow", SIZE);
    layers.io(vm, "write -P 1 0 8M");
    String first = root.text("VM.snapshot", vm, "one", List.of());
    layers.io(vm, "write -P 2 0 8M");
    String vdi = layers.disk(vm);
    layers.destroy(first);
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(layers.merges("pending")).isNotEmpty());

    String second = root.text("VM.snapshot", vm, "two", List.of());
    layers.io(vm, "write -P 3 0 1M");
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(layers.merges("pending")).isNotEmpty());
    root.call("VDI.resize_online", vdi, 2 * SIZE);
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(layers.merges("pending")).isNotEmpty());
    root.call("VM.hard_shutdown", vm);

    // Nobody has them any more: what was begun is ended as for any disk.
    layers.destroy(second);
    layers.awaitImages(1);
    root.call("SR.remove_from_other_config", layers.ref, "xenferry:merge-bandwidth");
    layers.check("read -P 3 0 1M", "read -P 2 1M 7M");
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", vdi);
    layers.awaitImages(0);
  }
}
