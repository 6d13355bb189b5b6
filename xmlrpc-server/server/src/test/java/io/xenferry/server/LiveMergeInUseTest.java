package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * What is done with a VM while images below its disk are merged, so slowly that it never ends by
 * itself: the merge goes on, or gives way and is taken up again, and no byte is lost.
 */
class LiveMergeInUseTest {
  /** Of what is to be merged QEMU writes some MiB at once, whatever the limit. */
  private static final long SIZE = 96 << 20;

  private static final String BANDWIDTH = "xenferry:merge-bandwidth";
  private static final String[] CONTENT = {"read -P 2 0 64M", "read -P 1 64M 4M"};

  private static TestServer server;
  private static TestServer.Calls root;
  private static LayeredSr layers;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("qemu-img", "qemu-io", "qemu-nbd", "qemu-system-x86_64");
    server =
        TestServer.startAt(
            "127.0.0.1", config -> config.with(config.toolstack().withHypervisor("qemu")));
    root = server.calls();
    layers = new LayeredSr(server, root);
    root.call(
        "pool.set_suspend_image_SR",
        root.only("pool"),
        root.sr(server.directory.resolve("memory")));
    root.call("SR.add_to_other_config", layers.ref, BANDWIDTH, "65536");
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  /** A VM with two images, one of which is being merged into the other. */
  private static String merging(String name) throws Exception {
    String vm = layers.vm(name, SIZE);
    layers.io(vm, "write -f -P 1 0 68M");
    String snapshot = root.text("VM.snapshot", vm, "one", List.of());
    layers.io(vm, "write -f -P 2 0 64M");
    layers.destroy(snapshot);
    underWay();
    return vm;
  }

  /** The task of the merge that is under way. */
  private static String underWay() {
    await().atMost(LayeredSr.PATIENCE).until(() -> layers.merges("pending").size() == 1);
    try {
      return layers.merges("pending").getFirst();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /** The merge has ended without effect, and another one is under way. */
  private static void assertTakenUpAfter(String task) {
    await()
        .atMost(LayeredSr.PATIENCE)
        .until(
            () -> layers.merges("pending").size() == 1 && !layers.merges("pending").contains(task));
  }

  /** Nobody has the disk any more: what was begun is ended as for any disk. */
  private static void end(String vm) throws Exception {
    root.call("VM.hard_shutdown", vm);
    layers.awaitImages(1);
    layers.check(CONTENT);
    String vdi = layers.disk(vm);
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", vdi);
    layers.awaitImages(0);
    assertThat(layers.merges("pending")).isEmpty();
  }

  @Test
  void itGoesOnOrGivesWayAndComesBack() throws Exception {
    String vm = merging("in use");
    String vdi = layers.disk(vm);

    String first = underWay();
    assertCode("VDI_IN_USE", () -> root.call("VDI.resize", vdi, 2 * SIZE));
    root.call("VM.pause", vm);
    root.call("VM.unpause", vm);
    root.call("VM.hard_reboot", vm);
    assertThat(underWay()).isEqualTo(first);
    layers.io(vm, CONTENT);

    String snapshot = root.text("VDI.snapshot", vdi, Map.of());
    layers.io(vm, "write -f -P 2 0 1M");
    root.call("VDI.destroy", snapshot);
    assertTakenUpAfter(first);
    String second = underWay();
    root.call("VM.pool_migrate", vm, root.only("host"), Map.of());
    assertTakenUpAfter(second);
    layers.io(vm, CONTENT);
    end(vm);
  }

  @Test
  void aVmIsSuspendedAndGoesOn() throws Exception {
    String vm = merging("asleep");
    root.call("VM.suspend", vm);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Suspended");
    // Its disk is nobody's now.
    layers.awaitImages(1);
    root.call("VM.resume", vm, false, false);
    layers.io(vm, CONTENT);
    end(vm);
  }

  @Test
  @Tag("slow")
  void aVmStartsAgainAtOnce() throws Exception {
    String vm = merging("restless");
    for (int i = 0; i < 3; i++) {
      root.call("VM.hard_shutdown", vm);
      root.call("VM.start", vm, false, false);
      layers.io(vm, CONTENT);
      underWay();
    }
    end(vm);
  }

  @Test
  @Tag("slow")
  void aDiskMovesToAnotherSr() throws Exception {
    String vm = merging("elsewhere");
    String raw = root.sr(server.directory.resolve("raw"));
    String moved = root.text("VDI.pool_migrate", layers.disk(vm), raw, Map.of());
    assertThat(layers.disk(vm)).isEqualTo(moved);
    layers.io(vm, CONTENT);
    layers.awaitImages(0);
    assertThat(layers.merges("pending")).isEmpty();
    root.call("VM.hard_shutdown", vm);
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", moved);
  }

  @Test
  @Tag("slow")
  void aGuestThatDoesNotLetGoOfTheDiskKeepsIt() throws Exception {
    String vm = merging("deaf");
    String before = underWay();
    String vbd = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    root.call("VBD.set_unpluggable", vbd, true);
    String task = root.text("Async.VBD.unplug", vbd);
    await()
        .atMost(LayeredSr.PATIENCE.multipliedBy(2))
        .until(() -> !root.text("task.get_status", task).equals("pending"));
    assertThat(TestServer.texts(root.call("task.get_error_info", task)))
        .startsWith("DEVICE_DETACH_TIMEOUT");
    assertThat(root.call("VBD.get_currently_attached", vbd)).isEqualTo(Value.of(true));
    assertTakenUpAfter(before);
    layers.io(vm, CONTENT);
    end(vm);
  }
}
