package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** An SR of qcow2 images, and VMs in QEMU with a disk each in it. */
final class LayeredSr {
  static final Duration PATIENCE = Duration.ofSeconds(60);

  final String ref;
  private final TestServer server;
  private final TestServer.Calls root;
  private final Path directory;

  LayeredSr(TestServer server, TestServer.Calls root) throws Exception {
    this.server = server;
    this.root = root;
    this.directory = server.directory.resolve("layers");
    this.ref = root.layeredSr(directory);
  }

  /** A VM that runs. */
  String vm(String name, long size) throws Exception {
    String vm = root.vm(name, Map.of());
    root.vbd(vm, root.vdi(ref, name, size), 0);
    root.call("VM.start", vm, false, false);
    return vm;
  }

  /** The VDI of the VM's or snapshot's only disk. */
  String disk(String vm) throws Exception {
    return root.text("VBD.get_VDI", TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst());
  }

  /** Reads and writes of the guest, see {@link GuestMonitor#io}. */
  void io(String vm, String... commands) throws Exception {
    GuestMonitor.io(server, root.text("VM.get_uuid", vm), commands);
  }

  /** Destroys a VM's snapshot with its disk. */
  void destroy(String snapshot) throws Exception {
    String disk = disk(snapshot);
    root.call("VM.destroy", snapshot);
    root.call("VDI.destroy", disk);
  }

  private List<Path> images() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).toList();
    }
  }

  void awaitImages(long count) {
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(images()).hasSize((int) count));
  }

  /** The only image, which nobody has open, is whole and holds what is read. */
  void check(String... reads) throws Exception {
    String image = images().getFirst().toString();
    ExternalTools.run("qemu-img", "check", "-q", image);
    for (String read : reads) {
      assertThat(ExternalTools.run("qemu-io", "-r", "-f", "qcow2", "-c", read, image))
          .as(read)
          .doesNotContain("verification failed");
    }
  }

  /** The tasks of merges that have that status. */
  List<String> merges(String status) throws Exception {
    return root.all("task").stream()
        .filter(task -> is(task, "get_name_label", "SR.coalesce"))
        .filter(task -> is(task, "get_status", status))
        .toList();
  }

  private boolean is(String task, String getter, String expected) {
    try {
      return root.text("task." + getter, task).equals(expected);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }
}
