package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Snapshots of disks and VMs on qcow2 images; those of running VMs with QEMU. */
class SnapshotTest {
  private static final long SIZE = 8 << 20;

  private static LayeredSite site;
  private static TestServer.Calls root;
  private static String sr;
  private static String rawSr;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("qemu-img", "qemu-nbd", "qemu-io", "qemu-system-x86_64");
    site = LayeredSite.start("127.0.0.1");
    root = site.root();
    sr = site.sr();
    rawSr = site.rawSr();
  }

  @AfterAll
  static void stop() throws Exception {
    if (site != null) {
      site.server().close();
    }
  }

  private static String vm(String name, int disks) throws Exception {
    String vm = root.vm(name, Map.of());
    for (int i = 0; i < disks; i++) {
      String vdi = root.vdi(sr, name + i, SIZE);
      root.vbd(vm, vdi, i);
      put(vdi, 10 * (i + 1));
    }
    root.text(
        "VIF.create",
        RecordsTest.required(
            "VIF", Map.of("VM", vm, "network", root.only("network"), "device", "0")));
    return vm;
  }

  /** Fills the first block of a disk that nobody uses. */
  private static void put(String vdi, int value) throws Exception {
    site.put(vdi, "write -P " + value + " 0 64k");
  }

  /** What the first block of a disk is filled with. */
  private static int at(String vdi) throws Exception {
    byte[] content = site.bytes(vdi);
    assertThat(content[4711]).isEqualTo(content[0]);
    return content[0];
  }

  private static void snapshotKnowsItsVm(String snapshot, String vm) throws Exception {
    Map<String, Value> record = root.record("VM", snapshot);
    assertThat(record.get("is_a_snapshot")).isEqualTo(Value.of(true));
    assertThat(record.get("is_a_template")).isEqualTo(Value.of(true));
    assertThat(record.get("snapshot_of")).isEqualTo(Value.of(vm));
    assertThat(TestServer.texts(root.call("VM.get_snapshots", vm))).contains(snapshot);
    assertThat(((Value.Time) record.get("snapshot_time")).instant().getEpochSecond()).isPositive();
    assertThat(root.text("VM.get_parent", vm)).isEqualTo(snapshot);
    String vif = TestServer.texts(root.call("VM.get_VIFs", vm)).getFirst();
    String copy = TestServer.texts(root.call("VM.get_VIFs", snapshot)).getFirst();
    assertThat(root.text("VIF.get_MAC", copy)).isEqualTo(root.text("VIF.get_MAC", vif));
  }

  @Test
  void aDiskGoesBackByItself() throws Exception {
    String vm = vm("in place", 1);
    String vdi = site.disks(vm).getFirst();
    String snapshot = root.text("VDI.snapshot", vdi, Map.of());
    put(vdi, 99);
    root.call("VDI.resize", vdi, 2 * SIZE);

    root.call("VDI.revert", snapshot);

    assertThat(at(vdi)).isEqualTo(10);
    assertThat(root.text("VDI.get_virtual_size", vdi)).isEqualTo(Long.toString(SIZE));
    assertThat(site.disks(vm)).containsExactly(vdi);
    assertThat(root.call("VDI.get_current_operations", vdi)).isEqualTo(Value.Struct.of(Map.of()));
    put(vdi, 98);
    root.call("VDI.revert", snapshot);
    assertThat(at(vdi)).as("as often as one likes").isEqualTo(10);
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VDI.revert", vdi));
    assertCode("HANDLE_INVALID", () -> root.call("VDI.revert", "OpaqueRef:x"));
    root.call("VM.start", vm, false, false);
    assertCode("VDI_IN_USE", () -> root.call("VDI.revert", snapshot));
    root.call("VM.hard_shutdown", vm);
    root.call("VDI.destroy", vdi);
    assertCode("HANDLE_INVALID", () -> root.call("VDI.revert", snapshot));
    String plain = root.text("VDI.snapshot", root.vdi(rawSr, "plain", SIZE), Map.of());
    assertCode("UNIMPLEMENTED_IN_SM_BACKEND", () -> root.call("VDI.revert", plain));
  }

  @Test
  void aHaltedVmIsSnapshotAndGoesBack() throws Exception {
    String vm = vm("halted", 2);
    String first = root.text("VM.snapshot", vm, "one", List.of());
    snapshotKnowsItsVm(first, vm);
    List<String> before = site.disks(vm);
    for (int i = 0; i < 2; i++) {
      assertThat(root.text("VDI.get_snapshot_of", site.disks(first).get(i)))
          .isEqualTo(before.get(i));
      put(before.get(i), 77);
    }
    root.call("VM.set_VCPUs_max", vm, 3);
    String extra = root.vdi(sr, "extra", SIZE);
    root.vbd(vm, extra, 2);
    String second = root.text("VM.snapshot", vm, "two", List.of(extra));
    assertThat(site.disks(second)).hasSize(2);
    assertThat(root.text("VM.get_parent", second)).isEqualTo(first);
    assertCode("VM_IS_SNAPSHOT", () -> root.call("VM.start", first, false, false));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.revert", vm));

    root.call("VM.revert", first);

    assertThat(at(site.disks(vm).get(0))).isEqualTo(10);
    assertThat(at(site.disks(vm).get(1))).isEqualTo(20);
    assertThat(root.text("VM.get_VCPUs_max", vm)).isEqualTo("1");
    assertThat(root.text("VM.get_name_label", vm)).isEqualTo("halted");
    assertThat(root.text("VM.get_parent", vm)).isEqualTo(first);
    // What it has got since then is no longer its own, and not gone.
    assertThat(site.disks(vm)).hasSize(2).doesNotContain(extra);
    assertThat(TestServer.texts(root.call("VDI.get_VBDs", extra))).isEmpty();
    for (int i = 0; i < 2; i++) {
      assertThat(root.all("VDI")).doesNotContain(before.get(i));
      assertThat(root.text("VDI.get_snapshot_of", site.disks(second).get(i)))
          .isEqualTo(site.disks(vm).get(i));
    }
    root.call("VM.revert", second);
    assertThat(at(site.disks(vm).get(0))).isEqualTo(77);
    root.call("VM.destroy", first);
    assertThat(root.text("VM.get_parent", second)).isEqualTo("OpaqueRef:NULL");
  }

  @Test
  void aRunningVmIsSnapshotWhileItGoesOn() throws Exception {
    String vm = vm("running", 2);
    root.call("VM.start", vm, false, false);
    List<String> disks = site.disks(vm);
    Path image = site.leaf(disks.get(0));

    String first = root.text("VM.snapshot", vm, "one", List.of());
    root.call("VDI.resize_online", disks.get(0), 2 * SIZE);
    String second = root.text("VM.snapshot", vm, "two", List.of());

    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    snapshotKnowsItsVm(second, vm);
    assertThat(root.record("VM", first).get("snapshot_info").toString())
        .contains("Running", "crash_consistent");
    assertThat(site.leaf(disks.get(0))).isNotEqualTo(image);
    assertThat(root.text("VDI.get_virtual_size", disks.get(0))).isEqualTo("" + (2 * SIZE));
    assertThat(root.text("VDI.get_virtual_size", site.disks(first).get(0))).isEqualTo("" + SIZE);
    assertThat(root.text("VDI.get_virtual_size", site.disks(second).get(0)))
        .isEqualTo("" + (2 * SIZE));
    // A snapshot can be read while the VM writes.
    assertThat(at(site.disks(first).get(1))).isEqualTo(20);

    root.call("VM.revert", first);

    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Halted");
    assertThat(root.text("VDI.get_virtual_size", site.disks(vm).get(0))).isEqualTo("" + SIZE);
    assertThat(at(site.disks(vm).get(0))).isEqualTo(10);
    assertThat(root.text("VM.get_uuid", vm)).isNotEmpty();
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aRawDiskIsNotSnapshotUnderItsGuestAndNothingIsLeftOfTheAttempt() throws Exception {
    String vm = vm("mixed", 1);
    String raw = root.vdi(rawSr, "raw", SIZE);
    root.vbd(vm, raw, 1);
    root.call("VM.start", vm, false, false);
    List<String> vdis = TestServer.texts(root.call("VDI.get_all"));
    XenApiException refused =
        assertCode("VDI_IN_USE", () -> root.call("VM.snapshot", vm, "one", List.of()));
    assertThat(refused.params()).first().isEqualTo(raw);
    assertThat(refused.params().get(1)).contains("only qcow2");
    refused = assertCode("VDI_IN_USE", () -> root.call("VDI.snapshot", raw, Map.of()));
    assertThat(refused.params()).first().isEqualTo(raw);
    assertThat(TestServer.texts(root.call("VDI.get_all"))).hasSameElementsAs(vdis);
    assertThat(TestServer.texts(root.call("VM.get_snapshots", vm))).isEmpty();

    root.call("VM.hard_shutdown", vm);
    String snapshot = root.text("VM.snapshot", vm, "one", List.of());
    assertThat(site.disks(snapshot)).hasSize(2);
    assertThat(at(site.disks(snapshot).getFirst())).isEqualTo(10);
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aDiskIsSnapshotByItself() throws Exception {
    String vdi = root.vdi(sr, "lonely", SIZE);
    put(vdi, 5);
    String snapshot = root.text("VDI.snapshot", vdi, Map.of());
    put(vdi, 6);
    String clone = root.text("VDI.clone", snapshot, Map.of());
    put(clone, 7);
    assertThat(List.of(at(snapshot), at(vdi), at(clone))).containsExactly(5, 6, 7);
    assertThat(root.text("VDI.get_snapshot_of", snapshot)).isEqualTo(vdi);
    assertThat(TestServer.texts(root.call("VDI.get_snapshots", vdi))).containsExactly(snapshot);
    root.call("VDI.destroy", vdi);
    root.call("SR.scan", sr);
    assertThat(List.of(at(snapshot), at(clone))).containsExactly(5, 7);
    String raw = root.vdi(rawSr, "raw", SIZE);
    String copied = root.text("VDI.snapshot", raw, Map.of());
    assertThat(root.record("VDI", copied).get("is_a_snapshot")).isEqualTo(Value.of(true));
    root.call("VDI.destroy", copied);
    root.call("VDI.destroy", raw);
  }

  @Test
  void aDiskGrowsOnline() throws Exception {
    String vm = vm("growing", 1);
    String vdi = site.disks(vm).getFirst();
    root.call("VDI.resize_online", vdi, SIZE + 512);
    root.call("VM.start", vm, false, false);
    root.call("VDI.resize_online", vdi, 4 * SIZE);
    assertCode("INVALID_VALUE", () -> root.call("VDI.resize_online", vdi, SIZE));
    assertThat(root.text("VDI.get_virtual_size", vdi)).isEqualTo("" + (4 * SIZE));
    long all = 0;
    for (String each : TestServer.texts(root.call("SR.get_VDIs", sr))) {
      all += Long.parseLong(root.text("VDI.get_virtual_size", each));
    }
    assertThat(root.text("SR.get_virtual_allocation", sr)).isEqualTo(Long.toString(all));
    root.call("VM.hard_shutdown", vm);
    assertThat(at(vdi)).isEqualTo(10);
  }

  private static long used(String vdi) throws Exception {
    return Long.parseLong(root.text("VDI.get_physical_utilisation", vdi));
  }

  @Test
  void aCopyFromARawDiskIsAsLargeAsItsContent() throws Exception {
    String raw = root.vdi(rawSr, "raw", SIZE);
    Path image = site.file(raw, "raw");
    ExternalTools.run("qemu-io", "-f", "raw", "-c", "write -P 1 0 2M", image.toString());
    String copy = root.text("VDI.copy", raw, sr, "OpaqueRef:NULL", "OpaqueRef:NULL");
    assertThat(used(copy)).isGreaterThanOrEqualTo(2 << 20);
    root.call("VDI.destroy", copy);
    root.call("VDI.destroy", raw);
  }

  @Test
  void changesAreListed() throws Exception {
    String vdi = root.vdi(sr, "tracked", SIZE);
    assertCode("SR_BACKEND_FAILURE_460", () -> root.call("VDI.list_changed_blocks", vdi, vdi));
    root.call("VDI.enable_cbt", vdi);
    assertThat(root.record("VDI", vdi).get("cbt_enabled")).isEqualTo(Value.of(true));
    put(vdi, 1);
    String first = root.text("VDI.snapshot", vdi, Map.of());
    assertThat(root.record("VDI", first).get("cbt_enabled")).isEqualTo(Value.of(true));
    put(vdi, 2);
    String second = root.text("VDI.snapshot", vdi, Map.of());
    byte[] bits =
        java.util.Base64.getDecoder().decode(root.text("VDI.list_changed_blocks", first, second));
    assertThat(bits).hasSize((int) (SIZE / 65536 / 8)).startsWith(0x80, 0);
    long whole = used(first);
    root.call("VDI.data_destroy", first);
    assertThat(root.text("VDI.get_type", first)).isEqualTo("cbt_metadata");
    assertThat(used(first)).isLessThanOrEqualTo(whole - (64 << 10));
    assertThat(root.text("VDI.list_changed_blocks", first, second)).startsWith("gA");
    assertThat(at(second)).isEqualTo(2);
    root.call("VDI.disable_cbt", vdi);
    assertThat(root.record("VDI", vdi).get("cbt_enabled")).isEqualTo(Value.of(false));
    assertCode("VDI_NO_CBT_METADATA", () -> root.call("VDI.data_destroy", vdi));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VDI.enable_cbt", second));
  }

  private static void gone(String vdi) throws Exception {
    assertThat(root.all("VDI")).doesNotContain(vdi);
  }

  @Test
  void aDiskThatRestsOnASnapshotMovesAloneWhileItsVmRuns() throws Exception {
    String vm = vm("mover", 1);
    String vdi = site.disks(vm).getFirst();
    String snapshot = root.text("VM.snapshot", vm, "one", List.of());
    root.call("VM.start", vm, false, false);

    String raw = root.text("VDI.pool_migrate", vdi, rawSr, Map.of());
    gone(vdi);
    assertThat(site.disks(vm)).containsExactly(raw);
    assertThat(root.text("VDI.get_snapshot_of", site.disks(snapshot).getFirst())).isEqualTo(raw);
    assertThat(root.text("VDI.pool_migrate", raw, rawSr, Map.of("dest-img-format", "raw")))
        .as("it is there")
        .isEqualTo(raw);
    assertCode(
        "INVALID_VALUE",
        () -> root.call("VDI.pool_migrate", raw, rawSr, Map.of("dest-img-format", "qcow2")));
    String back = root.text("VDI.pool_migrate", raw, sr, Map.of());
    gone(raw);
    root.text("VM.snapshot", vm, "two", List.of());
    root.call("VDI.resize_online", back, 2 * SIZE);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
    assertThat(at(site.disks(vm).getFirst())).isEqualTo(10);
    assertThat(at(site.disks(snapshot).getFirst())).isEqualTo(10);
    root.call("VM.revert", snapshot);
    assertThat(at(site.disks(vm).getFirst())).isEqualTo(10);
  }

  @Test
  void aRawDiskBecomesOneWithLayersUnderItsVm() throws Exception {
    String vm = root.vm("becomes", Map.of());
    String raw = root.vdi(rawSr, "raw", SIZE);
    root.vbd(vm, raw, 0);
    Files.write(
        site.file(raw, "raw"), new byte[] {9, 9, 9, 9}, java.nio.file.StandardOpenOption.WRITE);
    root.call("VM.start", vm, false, false);
    Value self = root.token();
    // Raw in the SR that makes layers, and the same again with them.
    String message = "VM.migrate_send";
    for (String format : List.of("raw", "qcow2")) {
      String home = format.equals("raw") ? sr : rawSr;
      root.text(
          message,
          vm,
          self,
          true,
          Map.of(site.disks(vm).getFirst(), home),
          Map.of(),
          Map.of(),
          Map.of(),
          Map.of(site.disks(vm).getFirst(), format));
      assertThat(site.file(site.disks(vm).getFirst(), format)).exists();
    }
    String layered = root.text("VDI.pool_migrate", site.disks(vm).getFirst(), sr, Map.of());
    Path image = site.leaf(layered);
    root.text("VM.snapshot", vm, "one", List.of());
    assertThat(site.leaf(layered)).isNotEqualTo(image);
    root.call("VDI.resize_online", layered, 2 * SIZE);
    root.text("VM.snapshot", vm, "two", List.of());
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
    byte[] content = site.bytes(layered);
    assertThat(content).startsWith(9, 9, 9, 9).hasSize((int) (2 * SIZE));
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }
}
