package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import io.xenferry.server.config.ServerConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** VMs of QEMU on qcow2 disks move, and their snapshots with them. */
class SnapshotMoveTest {
  private static final long SIZE = 32 << 20;
  private static final long MIB = 1 << 20;

  private static Site here;
  private static Site there;

  /** A server with an SR of qcow2 images, and one of raw files to look at disks. */
  private record Site(TestServer server, TestServer.Calls root, String sr, String rawSr) {
    static Site start(String address) throws Exception {
      TestServer server = TestServer.startAt(address, Site::qemu);
      TestServer.Calls root = server.calls();
      String sr =
          root.text(
              "SR.create",
              root.only("host"),
              Map.of("location", server.directory.resolve("q").toString(), "image-format", "qcow2"),
              0,
              "layers",
              "",
              "file",
              "user",
              false,
              Map.of());
      return new Site(server, root, sr, root.sr(server.directory.resolve("raw")));
    }

    private static ServerConfig qemu(ServerConfig config) {
      return config.with(config.toolstack().withHypervisor("qemu"));
    }

    List<String> disks(String vm) throws Exception {
      List<String> vbds = new ArrayList<>(TestServer.texts(root.call("VM.get_VBDs", vm)));
      Map<String, String> devices = new LinkedHashMap<>();
      for (String vbd : vbds) {
        devices.put(vbd, root.text("VBD.get_userdevice", vbd));
      }
      vbds.sort(Comparator.comparing(devices::get));
      List<String> disks = new ArrayList<>();
      for (String vbd : vbds) {
        disks.add(root.text("VBD.get_VDI", vbd));
      }
      return disks;
    }

    Path leaf(String vdi) throws Exception {
      String uuid = root.text("VDI.get_uuid", vdi);
      Path tree = server.directory.resolve("q").resolve("images.meta");
      if (Files.exists(tree)) {
        for (String line : Files.readAllLines(tree)) {
          if (line.startsWith("vdi." + uuid + "=")) {
            uuid = line.substring(line.indexOf('=') + 1);
          }
        }
      }
      return server.directory.resolve("q").resolve(uuid + ".qcow2");
    }

    void put(String vdi, String command) throws Exception {
      ExternalTools.run("qemu-io", "-f", "qcow2", "-c", command, leaf(vdi).toString());
    }

    /** The bytes at whole MiBs of a disk. */
    List<Integer> content(String vdi, int... mibs) throws Exception {
      String copy = root.text("VDI.copy", vdi, rawSr, "OpaqueRef:NULL", "OpaqueRef:NULL");
      Path file = server.directory.resolve("raw").resolve(root.text("VDI.get_uuid", copy) + ".raw");
      byte[] bytes = Files.readAllBytes(file);
      root.call("VDI.destroy", copy);
      List<Integer> found = new ArrayList<>();
      for (int mib : mibs) {
        found.add((int) bytes[(int) (mib * MIB)]);
      }
      return found;
    }

    long images() throws Exception {
      try (var files = Files.list(server.directory.resolve("q"))) {
        return files.filter(f -> f.toString().endsWith(".qcow2")).count();
      }
    }
  }

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require(
        "qemu-img", "qemu-nbd", "qemu-io", "qemu-storage-daemon", "qemu-system-x86_64");
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(Files.exists(Path.of("/dev/fuse")), "no /dev/fuse");
    }
    here = Site.start("127.0.0.1");
    there = Site.start("127.0.0.2");
  }

  @AfterAll
  static void stop() throws Exception {
    if (there != null) {
      there.server().close();
    }
    if (here != null) {
      here.server().close();
    }
  }

  /** A VM with a disk, two snapshots of it, and something written after each. */
  private record Traveller(String vm, String uuid, String first, String second) {}

  private static Traveller traveller(String name) throws Exception {
    String vm = here.root().vm(name, Map.of());
    String vdi = here.root().vdi(here.sr(), name, SIZE);
    here.root().vbd(vm, vdi, 0);
    here.root()
        .text(
            "VIF.create",
            RecordsTest.required(
                "VIF", Map.of("VM", vm, "network", here.root().only("network"), "device", "0")));
    here.put(vdi, "write -P 1 0 20M");
    String first = here.root().text("VM.snapshot", vm, name + " one", List.of());
    here.put(vdi, "write -P 2 2M 1M");
    here.put(vdi, "write -z 4M 1M");
    String second = here.root().text("VM.snapshot", vm, name + " two", List.of());
    here.put(vdi, "write -P 3 25M 1M");
    here.root().call("VM.add_tags", first, "precious");
    return new Traveller(
        vm,
        here.root().text("VM.get_uuid", vm),
        here.root().text("VM.get_uuid", first),
        here.root().text("VM.get_uuid", second));
  }

  private static String move(Traveller t) throws Exception {
    Value token =
        there
            .root()
            .call(
                "host.migrate_receive",
                there.root().only("host"),
                there.root().only("network"),
                Map.of());
    Map<String, String> vdis = new LinkedHashMap<>();
    here.disks(t.vm()).forEach(vdi -> vdis.put(vdi, there.sr()));
    Map<String, String> vifs = new LinkedHashMap<>();
    for (String vif : TestServer.texts(here.root().call("VM.get_VIFs", t.vm()))) {
      vifs.put(vif, there.root().only("network"));
    }
    return here.root()
        .text("VM.migrate_send", t.vm(), token, true, vdis, vifs, Map.of(), Map.of(), Map.of());
  }

  private static void assertArrived(Traveller t, Map<String, Value> one, Map<String, Value> two)
      throws Exception {
    TestServer.Calls root = there.root();
    String vm = root.text("VM.get_by_uuid", t.uuid());
    String first = root.text("VM.get_by_uuid", t.first());
    String second = root.text("VM.get_by_uuid", t.second());
    assertThat(TestServer.texts(root.call("VM.get_snapshots", vm)))
        .containsExactlyInAnyOrder(first, second);
    assertThat(root.text("VM.get_parent", vm)).isEqualTo(second);
    assertThat(root.text("VM.get_parent", second)).isEqualTo(first);
    for (Map.Entry<String, Map<String, Value>> e : Map.of(first, one, second, two).entrySet()) {
      Map<String, Value> now = root.record("VM", e.getKey());
      for (String field :
          List.of(
              "name_label",
              "is_a_snapshot",
              "is_a_template",
              "snapshot_time",
              "snapshot_info",
              "tags",
              "other_config")) {
        assertThat(now.get(field)).as(field).isEqualTo(e.getValue().get(field));
      }
    }
    String disk = there.disks(vm).getFirst();
    String old = there.disks(first).getFirst();
    String newer = there.disks(second).getFirst();
    assertThat(root.text("VDI.get_snapshot_of", old)).isEqualTo(disk);
    assertThat(root.text("VDI.get_snapshot_of", newer)).isEqualTo(disk);
    assertThat(root.record("VDI", old).get("is_a_snapshot")).isEqualTo(Value.of(true));
    assertThat(there.content(old, 0, 2, 4, 25)).containsExactly(1, 1, 1, 0);
    assertThat(there.content(newer, 0, 2, 4, 25)).containsExactly(1, 2, 0, 0);
    // The chain is as it was: each image has its own clusters only.
    root.call("SR.scan", there.sr());
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", old)))
        .isBetween(20 * MIB, 22 * MIB);
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", newer)))
        .isBetween(MIB, 2 * MIB);
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", disk)))
        .isBetween(MIB, 2 * MIB);
  }

  private static void assertGone(Traveller t) throws Exception {
    for (String vm : here.root().all("VM")) {
      assertThat(here.root().text("VM.get_uuid", vm)).isNotIn(t.uuid(), t.first(), t.second());
    }
    assertThat(here.images()).isZero();
  }

  @Test
  void aHaltedVmMovesWithItsSnapshots() throws Exception {
    Traveller t = traveller("halted");
    TestServer.Calls root = here.root();
    Map<String, Value> one = root.record("VM", root.text("VM.get_by_uuid", t.first()));
    Map<String, Value> two = root.record("VM", root.text("VM.get_by_uuid", t.second()));

    String arrived = move(t);

    assertArrived(t, one, two);
    assertThat(there.content(there.disks(arrived).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 2, 0, 3);
    assertGone(t);
    there.root().call("VM.revert", there.root().text("VM.get_by_uuid", t.first()));
    assertThat(there.content(there.disks(arrived).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 1, 1, 0);
  }

  @Test
  void aRunningVmMovesWithItsSnapshots() throws Exception {
    Traveller t = traveller("running");
    here.root().call("VM.start", t.vm(), false, false);
    TestServer.Calls root = here.root();
    Map<String, Value> one = root.record("VM", root.text("VM.get_by_uuid", t.first()));
    Map<String, Value> two = root.record("VM", root.text("VM.get_by_uuid", t.second()));

    String arrived = move(t);

    assertThat(there.root().text("VM.get_power_state", arrived)).isEqualTo("Running");
    assertArrived(t, one, two);
    String third = there.root().text("VM.snapshot", arrived, "there", List.of());
    assertThat(there.content(there.disks(third).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 2, 0, 3);
    assertGone(t);
    there.root().call("VM.hard_shutdown", arrived);
  }
}
