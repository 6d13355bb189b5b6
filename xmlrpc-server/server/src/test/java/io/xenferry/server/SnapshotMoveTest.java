package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import io.xenferry.server.config.ServerConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** VMs of QEMU on qcow2 disks move, and their snapshots with them. */
class SnapshotMoveTest {
  private static final long SIZE = 32 << 20;
  private static final long MIB = 1 << 20;
  private static final int BLOCK = 64 << 10;

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

    byte[] bytes(String vdi) throws Exception {
      String copy = root.text("VDI.copy", vdi, rawSr, "OpaqueRef:NULL", "OpaqueRef:NULL");
      Path file = server.directory.resolve("raw").resolve(root.text("VDI.get_uuid", copy) + ".raw");
      byte[] bytes = Files.readAllBytes(file);
      root.call("VDI.destroy", copy);
      return bytes;
    }

    boolean tracked(String vdi) throws Exception {
      return root.record("VDI", vdi).get("cbt_enabled").equals(Value.of(true));
    }

    /** The blocks that are said to have changed. */
    BitSet changed(String from, String to) throws Exception {
      byte[] bits = Base64.getDecoder().decode(root.text("VDI.list_changed_blocks", from, to));
      assertThat(bits).hasSize((int) (SIZE / BLOCK / 8));
      BitSet changed = new BitSet();
      for (int i = 0; i < bits.length * 8; i++) {
        changed.set(i, (bits[i / 8] & (0x80 >> (i % 8))) != 0);
      }
      return changed;
    }

    /** The bytes at whole MiBs of a disk. */
    List<Integer> content(String vdi, int... mibs) throws Exception {
      byte[] bytes = bytes(vdi);
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

  /** The blocks in which two disks of one size differ. */
  private static BitSet differing(byte[] one, byte[] other) {
    BitSet blocks = new BitSet();
    for (int at = 0; at < one.length; at += BLOCK) {
      blocks.set(at / BLOCK, !Arrays.equals(one, at, at + BLOCK, other, at, at + BLOCK));
    }
    return blocks;
  }

  /** None too few. */
  private static void assertHolds(BitSet listed, BitSet different) {
    BitSet missing = (BitSet) different.clone();
    missing.andNot(listed);
    assertThat(missing).as("blocks that differ and are not listed").isEqualTo(new BitSet());
    assertThat(different.cardinality()).isPositive();
  }

  /** A VM with a disk, two snapshots of it, and something written after each. */
  private record Traveller(String vm, String uuid, String first, String second) {}

  private static Traveller traveller(String name) throws Exception {
    String vm = here.root().vm(name, Map.of());
    String vdi = here.root().vdi(here.sr(), name, SIZE);
    here.root().vbd(vm, vdi, 0);
    here.root().call("VDI.enable_cbt", vdi);
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
    return move(here, there, t.vm(), there.sr(), "VM.migrate_send", Map.of());
  }

  private static String move(
      Site from, Site to, String vm, String sr, String message, Map<String, String> options)
      throws Exception {
    return move(from, to, vm, sr, message, options, Map.of());
  }

  private static String move(
      Site from,
      Site to,
      String vm,
      String sr,
      String message,
      Map<String, String> options,
      Map<String, String> formats)
      throws Exception {
    Value token =
        to.root()
            .call(
                "host.migrate_receive",
                to.root().only("host"),
                to.root().only("network"),
                Map.of());
    Map<String, String> vdis = new LinkedHashMap<>();
    from.disks(vm).forEach(vdi -> vdis.put(vdi, sr));
    Map<String, String> vifs = new LinkedHashMap<>();
    for (String vif : TestServer.texts(from.root().call("VM.get_VIFs", vm))) {
      vifs.put(vif, to.root().only("network"));
    }
    return from.root().text(message, vm, token, true, vdis, vifs, options, Map.of(), formats);
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
    for (String each : List.of(disk, old, newer)) {
      assertThat(there.tracked(each)).isTrue();
    }
    BitSet changed = there.changed(old, newer);
    assertHolds(changed, differing(there.bytes(old), there.bytes(newer)));
    assertThat(changed.cardinality()).as("two MiB").isEqualTo(32);
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

  /** It is kept at the source with its snapshots, and they are not in its way. */
  @Test
  void aVmThatIsKeptComesBackWithItsSnapshots() throws Exception {
    Traveller t = traveller("returns");
    String arrived =
        move(here, there, t.vm(), there.sr(), "VM.migrate_send", Map.of("keep-source", "1h"));
    await().until(() -> !here.root().text("VM.get_uuid", t.vm()).equals(t.uuid()));

    String back = move(there, here, arrived, here.sr(), "VM.migrate_send", Map.of());

    assertThat(here.root().text("VM.get_uuid", back)).isEqualTo(t.uuid());
    for (String vm : List.of(t.vm(), back)) {
      String second = here.root().text("VM.get_parent", vm);
      String first = here.root().text("VM.get_parent", second);
      assertThat(here.content(here.disks(first).getFirst(), 0, 2, 4, 25))
          .containsExactly(1, 1, 1, 0);
      assertThat(here.content(here.disks(second).getFirst(), 0, 2, 4, 25))
          .containsExactly(1, 2, 0, 0);
      assertThat(here.root().text("VM.get_uuid", first).equals(t.first()))
          .isEqualTo(vm.equals(back));
      assertThat(here.root().text("VM.get_uuid", second).equals(t.second()))
          .isEqualTo(vm.equals(back));
    }
    destroy(here, t.vm(), back);
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
    BitSet since =
        there.changed(
            there.disks(there.root().text("VM.get_by_uuid", t.second())).getFirst(),
            there.disks(third).getFirst());
    assertThat(since.cardinality()).as("one MiB").isEqualTo(16);
    assertThat(since.nextSetBit(0)).isEqualTo((int) (25 * MIB / BLOCK));
    assertGone(t);
    there.root().call("VM.hard_shutdown", arrived);
  }

  /** Each disk is copied from snapshots of which nothing is left, the VM's own ones unharmed. */
  @Test
  void aRunningVmMovesBySnapshotsOfItsDisks() throws Exception {
    Traveller t = traveller("frozen");
    here.root().call("VM.start", t.vm(), false, false);
    TestServer.Calls root = here.root();
    Map<String, Value> one = root.record("VM", root.text("VM.get_by_uuid", t.first()));
    Map<String, Value> two = root.record("VM", root.text("VM.get_by_uuid", t.second()));

    String arrived =
        move(here, there, t.vm(), there.sr(), "VM.migrate_send", Map.of("strategy", "snapshot"));

    assertThat(strategies(t.uuid())).containsExactly("snapshot");
    assertThat(there.root().text("VM.get_power_state", arrived)).isEqualTo("Running");
    assertArrived(t, one, two);
    String third = there.root().text("VM.snapshot", arrived, "there", List.of());
    assertThat(there.content(there.disks(third).getFirst(), 0, 2, 4, 25))
        .containsExactly(1, 2, 0, 3);
    assertGone(t);
    there.root().call("VM.hard_shutdown", arrived);
  }

  /** Of the VM's own disks, by its moves from here. */
  private static List<String> strategies(String vm) throws Exception {
    List<String> strategies = new ArrayList<>();
    for (JsonNode move : Rest.get(here.server(), "/v1/migrations")) {
      for (JsonNode disk : move.path("disks")) {
        if (move.path("vm").asText().equals(vm)
            && !disk.path("device").asText().startsWith("snapshot-")) {
          strategies.add(disk.path("strategy-asked").asText());
        }
      }
    }
    return strategies;
  }

  /** While it is copied the snapshot belongs to the move; afterwards there is none. */
  @Test
  void nothingIsLeftOfSnapshotsWhenTheirMoveIsCancelled() throws Exception {
    Traveller t = traveller("thawed");
    String disk = here.disks(t.vm()).getFirst();
    here.root().call("VM.start", t.vm(), false, false);
    List<String> before = TestServer.texts(here.root().call("SR.get_VDIs", here.sr()));
    String task =
        move(
            here,
            there,
            t.vm(),
            there.sr(),
            "Async.VM.migrate_send",
            Map.of("strategy", "snapshot", "bandwidth", "262144"));
    await().atMost(TwoHosts.LONG).until(() -> !taken(before).isEmpty());
    String snapshot = taken(before).getFirst();
    assertThat(here.root().text("VDI.get_snapshot_of", snapshot)).isEqualTo(disk);
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> here.root().call("VDI.destroy", snapshot));
    here.root().call("task.cancel", task);
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> here.root().text("task.get_status", task).equals("cancelled"));
    await().atMost(TwoHosts.LONG).untilAsserted(() -> assertThat(taken(before)).isEmpty());
    assertThat(here.root().text("VM.get_power_state", t.vm())).isEqualTo("Running");
    here.root().call("VM.hard_shutdown", t.vm());
    assertThat(here.content(disk, 0, 2, 4, 25)).containsExactly(1, 2, 0, 3);
    assertThat(
            here.changed(
                    here.disks(here.root().text("VM.get_by_uuid", t.second())).getFirst(), disk)
                .cardinality())
        .as("one MiB")
        .isEqualTo(16);
    destroy(here, t.vm());
  }

  /** Disks at the source that were not there before. */
  private static List<String> taken(List<String> before) throws Exception {
    List<String> now =
        new ArrayList<>(TestServer.texts(here.root().call("SR.get_VDIs", here.sr())));
    now.removeAll(before);
    return now;
  }

  /** There and back, with something written, zeroed and discarded at each place. */
  @Test
  @Tag("slow")
  void theNextBackupIsStillOneOfWhatHasChanged() throws Exception {
    Traveller t = traveller("back");
    byte[] first = here.bytes(here.disks(here.root().text("VM.get_by_uuid", t.first())).getFirst());

    String arrived = move(t);
    String disk = there.disks(arrived).getFirst();
    there.put(disk, "write -P 5 8M 64k");
    there.put(disk, "write -z 9M 64k");
    there.put(disk, "discard 10M 64k");
    String third = there.root().text("VM.snapshot", arrived, "three", List.of());
    String one = there.disks(there.root().text("VM.get_by_uuid", t.first())).getFirst();
    BitSet changed = there.changed(one, there.disks(third).getFirst());
    assertHolds(changed, differing(first, there.bytes(there.disks(third).getFirst())));
    assertThat(changed.cardinality()).as("three MiB and three blocks").isEqualTo(51);
    there.put(disk, "write -P 6 11M 64k");
    String thirdUuid = there.root().text("VM.get_uuid", third);

    String back = move(there, here, arrived, here.sr(), "VM.migrate_send", Map.of());
    disk = here.disks(back).getFirst();
    assertThat(here.tracked(disk)).isTrue();
    here.put(disk, "write -P 7 30M 64k");
    BitSet all =
        here.changed(here.disks(here.root().text("VM.get_by_uuid", t.first())).getFirst(), disk);
    assertHolds(all, differing(first, here.bytes(disk)));
    assertThat(all.cardinality()).isEqualTo(53);
    assertThat(
            here.changed(
                here.disks(here.root().text("VM.get_by_uuid", thirdUuid)).getFirst(), disk))
        .as("two blocks")
        .satisfies(since -> assertThat(since.cardinality()).isEqualTo(2));
    here.root().call("VDI.disable_cbt", disk);
    assertThat(here.tracked(disk)).isFalse();
    destroy(here, back);
  }

  private static void destroy(Site site, String... of) throws Exception {
    List<String> vms = new ArrayList<>();
    for (String vm : of) {
      vms.addAll(TestServer.texts(site.root().call("VM.get_snapshots", vm)));
      vms.add(vm);
    }
    List<String> disks = new ArrayList<>();
    for (String each : vms) {
      disks.addAll(site.disks(each));
    }
    for (String each : vms) {
      site.root().call("VM.destroy", each);
    }
    for (String vdi : disks) {
      site.root().call("VDI.destroy", vdi);
    }
    if (site.equals(here)) { // what nobody has is removed in the background
      await().atMost(TwoHosts.LONG).until(() -> here.images() == 0);
    }
  }

  /** A disk with a backup whose content was destroyed, and what it was. */
  private record Backed(String vm, String disk, String emptied, byte[] before) {}

  private static Backed backed(String name) throws Exception {
    String vm = here.root().vm(name, Map.of());
    String disk = here.root().vdi(here.sr(), name, SIZE);
    here.root().vbd(vm, disk, 0);
    here.root().call("VDI.enable_cbt", disk);
    here.put(disk, "write -P 1 0 16M");
    String emptied = here.root().text("VDI.snapshot", disk, Map.of());
    byte[] before = here.bytes(emptied);
    here.root().call("VDI.data_destroy", emptied);
    here.put(disk, "write -P 2 3M 64k");
    here.put(disk, "write -z 5M 64k");
    return new Backed(vm, disk, here.root().text("VDI.get_uuid", emptied), before);
  }

  /** Of the snapshot nothing is left but its name; and zeroes are not sent. */
  @Test
  void whatIsLeftOfAnEmptiedSnapshotGoesAlong() throws Exception {
    Backed b = backed("emptied");
    String vm = move(here, there, b.vm(), there.sr(), "VM.migrate_send", Map.of());
    String disk = there.disks(vm).getFirst();
    String emptied = TestServer.texts(there.root().call("VDI.get_snapshots", disk)).getFirst();
    assertThat(there.root().text("VDI.get_type", emptied)).isEqualTo("cbt_metadata");
    assertThat(there.tracked(disk)).isTrue();
    String next = there.root().text("VDI.snapshot", disk, Map.of());
    assertHolds(there.changed(emptied, next), differing(b.before(), there.bytes(next)));
    there.put(disk, "write -P 3 20M 64k");
    assertThat(there.changed(next, disk).cardinality()).as("from here on").isEqualTo(1);
    assertThat(here.images()).isZero();
    for (String vdi : List.of(emptied, next)) {
      there.root().call("VDI.destroy", vdi);
    }
    destroy(there, vm);
  }

  @Test
  void nothingIsLeftOfAMoveThatIsCancelled() throws Exception {
    Backed b = backed("cancelled");
    long images = there.images();
    here.root().call("VM.start", b.vm(), false, false);
    String task =
        move(
            here, there, b.vm(), there.sr(), "Async.VM.migrate_send", Map.of("bandwidth", "65536"));
    await()
        .atMost(TwoHosts.LONG)
        .until(() ->
            TestServer.texts(there.root().call("SR.get_VDIs", there.sr())).stream()
                .anyMatch(vdi -> isEmptied(vdi)));
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> here.root().call("VDI.disable_cbt", b.disk()));
    here.root().call("task.cancel", task);
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> here.root().text("task.get_status", task).equals("cancelled"));
    await()
        .atMost(TwoHosts.LONG)
        .untilAsserted(() -> {
          assertThat(TestServer.texts(there.root().call("VM.get_by_name_label", "cancelled")))
              .isEmpty();
          assertThat(there.images()).isEqualTo(images);
        });
    here.root().call("VM.hard_shutdown", b.vm());
    String emptied = here.root().text("VDI.get_by_uuid", b.emptied());
    BitSet changed = here.changed(emptied, b.disk());
    assertHolds(changed, differing(b.before(), here.bytes(b.disk())));
    assertThat(changed.cardinality()).isEqualTo(2);
    here.root().call("VDI.destroy", emptied);
    destroy(here, b.vm());
  }

  private static boolean isEmptied(String vdi) {
    try {
      return there.root().text("VDI.get_type", vdi).equals("cbt_metadata");
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void trackingIsOffWhereTheDestinationCannot() throws Exception {
    Backed b = backed("plain");
    String vm = move(here, there, b.vm(), there.rawSr(), "VM.migrate_send", Map.of());
    String disk = there.disks(vm).getFirst();
    assertThat(there.tracked(disk)).isFalse();
    assertThat(TestServer.texts(there.root().call("VDI.get_snapshots", disk))).isEmpty();
    assertThat(here.images()).isZero();
    there.root().call("VM.destroy", vm);
    there.root().call("VDI.destroy", disk);
  }

  private static String format(Path image) throws Exception {
    JsonNode told =
        new ObjectMapper()
            .readTree(
                ExternalTools.run("qemu-img", "info", "-U", "--output=json", image.toString()));
    return told.path("format").asText();
  }

  private static void assertFormat(Site site, String vdi, String format, Path directory)
      throws Exception {
    // Of raw disks an SR says nothing.
    Map<String, Value> told =
        ((Value.Struct) site.root().record("VDI", vdi).get("sm_config")).members();
    assertThat(told.getOrDefault("image-format", Value.of("raw"))).isEqualTo(Value.of(format));
    assertThat(format(directory.resolve(site.root().text("VDI.get_uuid", vdi) + "." + format)))
        .isEqualTo(format);
  }

  @Test
  void theDisksOfARunningVmChangeTheirFormatOnTheWay() throws Exception {
    String vm = here.root().vm("formats", Map.of());
    String vdi = here.root().vdi(here.rawSr(), "formats", SIZE);
    here.root().vbd(vm, vdi, 0);
    Path raw =
        here.server()
            .directory
            .resolve("raw")
            .resolve(here.root().text("VDI.get_uuid", vdi) + ".raw");
    ExternalTools.run(
        "qemu-io", "-f", "raw", "-c", "write -P 1 0 3M", "-c", "write -P 2 20M 1M", raw.toString());
    here.root().call("VM.start", vm, false, false);

    long before = there.images();
    assertThat(
            assertCode(
                    "VDI_INCOMPATIBLE_TYPE",
                    () ->
                        move(
                            here,
                            there,
                            vm,
                            there.rawSr(),
                            "VM.migrate_send",
                            Map.of(),
                            Map.of(vdi, "vmdk")))
                .params()
                .getLast())
        .contains("vmdk", "raw and qcow2");
    assertCode(
        "INVALID_VALUE",
        () ->
            move(
                here,
                there,
                vm,
                there.rawSr(),
                "VM.migrate_send",
                Map.of(),
                Map.of(vdi, "raw,x=y")));
    assertThat(there.images()).isEqualTo(before);

    String arrived =
        move(
            here,
            there,
            vm,
            there.rawSr(),
            "VM.migrate_send",
            Map.of("verify", "true"),
            Map.of(vdi, "qcow2"));
    String layered = there.disks(arrived).getFirst();
    assertFormat(there, layered, "qcow2", there.server().directory.resolve("raw"));
    assertThat(there.root().text("VM.get_power_state", arrived)).isEqualTo("Running");

    String back =
        move(
            there,
            here,
            arrived,
            here.sr(),
            "VM.migrate_send",
            Map.of("verify", "true"),
            Map.of(layered, "raw"));
    String plain = here.disks(back).getFirst();
    assertFormat(here, plain, "raw", here.server().directory.resolve("q"));
    assertThat(here.root().text("VM.get_power_state", back)).isEqualTo("Running");
    here.root().call("VM.hard_shutdown", back);
    assertThat(here.content(plain, 0, 2, 3, 20, 21)).containsExactly(1, 1, 0, 2, 0);
    destroy(here, back);
  }

  @Test
  void aDiskThatBecomesRawRestsOnNothingAndItsSnapshotsMoveAsTheyAre() throws Exception {
    Traveller t = traveller("flattened");
    String disk = here.disks(t.vm()).getFirst();
    byte[] content = here.bytes(disk);
    String vm =
        move(here, there, t.vm(), there.sr(), "VM.migrate_send", Map.of(), Map.of(disk, "raw"));
    String flat = there.disks(vm).getFirst();
    assertFormat(there, flat, "raw", there.server().directory.resolve("q"));
    assertThat(there.bytes(flat)).isEqualTo(content);
    String newest = there.disks(there.root().text("VM.get_by_uuid", t.second())).getFirst();
    assertThat(there.root().text("VDI.get_snapshot_of", newest)).isEqualTo(flat);
    assertThat(there.content(newest, 0, 2, 4, 25)).containsExactly(1, 2, 0, 0);
    for (String snapshot : TestServer.texts(there.root().call("VM.get_snapshots", vm))) {
      destroy(there, snapshot);
    }
    destroy(there, vm);
  }

  @Test
  @Tag("slow")
  void aCopyHasNoPast() throws Exception {
    Backed b = backed("copied");
    String vm = move(here, there, b.vm(), there.sr(), "VM.migrate_send", Map.of("copy", "true"));
    String disk = there.disks(vm).getFirst();
    assertThat(there.tracked(disk)).isFalse();
    assertThat(here.tracked(b.disk())).isTrue();
    String emptied = here.root().text("VDI.get_by_uuid", b.emptied());
    assertThat(here.changed(emptied, b.disk()).cardinality()).isEqualTo(2);
    here.root().call("VDI.destroy", emptied);
    destroy(here, b.vm());
    destroy(there, vm);
  }
}
