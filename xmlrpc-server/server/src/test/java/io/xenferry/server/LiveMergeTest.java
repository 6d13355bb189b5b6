package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Snapshots of running VMs go, and their images are merged while QEMU has them. */
class LiveMergeTest {
  private static final long SIZE = 16 << 20;
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static TestServer server;
  private static TestServer.Calls root;
  private static Path directory;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("qemu-img", "qemu-io", "qemu-system-x86_64");
    server =
        TestServer.startAt(
            "127.0.0.1", config -> config.with(config.toolstack().withHypervisor("qemu")));
    root = server.calls();
    directory = server.directory.resolve("layers");
    sr =
        root.text(
            "SR.create",
            root.only("host"),
            Map.of("location", directory.toString(), "image-format", "qcow2"),
            0,
            "layers",
            "",
            "file",
            "user",
            false,
            Map.of());
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static long images() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).count();
    }
  }

  private static void awaitImages(long count) {
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(images()).isEqualTo(count));
  }

  private static void guest(String vm, String... commands) throws Exception {
    GuestMonitor.io(server, root.text("VM.get_uuid", vm), commands);
  }

  private static String vm(String name) throws Exception {
    String vm = root.vm(name, Map.of());
    root.vbd(vm, root.vdi(sr, name, SIZE), 0);
    root.call("VM.start", vm, false, false);
    return vm;
  }

  private static String disk(String vm) throws Exception {
    return root.text("VBD.get_VDI", TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst());
  }

  private static void destroy(String snapshot) throws Exception {
    String disk = disk(snapshot);
    root.call("VM.destroy", snapshot);
    root.call("VDI.destroy", disk);
  }

  private static String parent(String vdi) throws Exception {
    return ((Value.Struct) root.record("VDI", vdi).get("sm_config"))
        .members()
        .getOrDefault("image-parent", Value.of(""))
        .toString();
  }

  @Test
  void theChainBelowARunningGuestBecomesOneImage() throws Exception {
    String vm = vm("busy");
    guest(vm, "write -P 1 0 1M", "write -P 1 1M 1M", "write -P 1 2M 1M");
    String first = root.text("VM.snapshot", vm, "one", List.of());
    guest(vm, "write -P 2 1M 1M", "write -P 2 2M 1M");
    String second = root.text("VM.snapshot", vm, "two", List.of());
    guest(vm, "write -P 3 2M 1M", "discard 3M 1M");
    awaitImages(3);

    destroy(first);
    awaitImages(2);
    guest(vm, "read -P 1 0 1M", "read -P 2 1M 1M", "read -P 3 2M 1M", "write -P 4 0 64k");
    long before = Long.parseLong(root.text("VDI.get_physical_utilisation", disk(second)));
    assertThat(before).isGreaterThan(2 << 20);
    destroy(second);
    awaitImages(1);

    String vdi = disk(vm);
    guest(vm, "read -P 4 0 64k", "read -P 1 512k 512k", "read -P 3 2M 1M", "write -P 5 4M 1M");
    await()
        .atMost(PATIENCE)
        .untilAsserted(() ->
            assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", vdi)))
                .isGreaterThan(2 << 20));
    assertThat(parent(vdi)).isEqualTo(Value.of("").toString());
    assertThat(tasks()).contains("success");
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    // It goes on as any other: snapshots, growth, the end.
    String third = root.text("VM.snapshot", vm, "three", List.of());
    root.call("VDI.resize_online", vdi, 2 * SIZE);
    guest(vm, "write -P 6 20M 1M");
    destroy(third);
    awaitImages(1);
    assertThat(root.text("VDI.get_virtual_size", vdi)).isEqualTo("" + 2 * SIZE);
    guest(vm, "read -P 6 20M 1M", "read -P 5 4M 1M");
    root.call("VM.hard_shutdown", vm);
    check(vdi, "read -P 6 20M 1M", "read -P 5 4M 1M", "read -P 4 0 64k");
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", vdi);
    awaitImages(0);
  }

  private static List<String> tasks() throws Exception {
    return TestServer.texts(root.call("task.get_all")).stream()
        .filter(task -> is("SR.coalesce", "task.get_name_label", task))
        .map(task -> text("task.get_status", task))
        .toList();
  }

  private static boolean is(String what, String method, String ref) {
    return text(method, ref).equals(what);
  }

  private static String text(String method, String ref) {
    try {
      return root.text(method, ref);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /** The only image, which nobody has open. */
  private static void check(String vdi, String... reads) throws Exception {
    Path image;
    try (Stream<Path> files = Files.list(directory)) {
      image = files.filter(f -> f.toString().endsWith(".qcow2")).findFirst().orElseThrow();
    }
    ExternalTools.run("qemu-img", "check", "-q", image.toString());
    for (String read : reads) {
      assertThat(ExternalTools.run("qemu-io", "-r", "-f", "qcow2", "-c", read, image.toString()))
          .as(vdi + ": " + read)
          .doesNotContain("verification failed");
    }
  }

  @Test
  void aMergeIsCancelledByWhoeverWorksWithTheDisk() throws Exception {
    root.call("SR.add_to_other_config", sr, "xenferry:merge-bandwidth", "65536");
    String vm = vm("slow");
    guest(vm, "write -P 1 0 8M");
    String first = root.text("VM.snapshot", vm, "one", List.of());
    guest(vm, "write -P 2 0 8M");
    String vdi = disk(vm);
    destroy(first);
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(tasks()).contains("pending"));

    String second = root.text("VM.snapshot", vm, "two", List.of());
    guest(vm, "write -P 3 0 1M");
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(tasks()).contains("pending"));
    root.call("VDI.resize_online", vdi, 2 * SIZE);
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(tasks()).contains("pending"));
    root.call("VM.hard_shutdown", vm);

    // Nobody has them any more: what was begun is ended as for any disk.
    destroy(second);
    awaitImages(1);
    root.call("SR.remove_from_other_config", sr, "xenferry:merge-bandwidth");
    check(vdi, "read -P 3 0 1M", "read -P 2 1M 7M");
    root.call("VM.destroy", vm);
    root.call("VDI.destroy", vdi);
    awaitImages(0);
  }
}
