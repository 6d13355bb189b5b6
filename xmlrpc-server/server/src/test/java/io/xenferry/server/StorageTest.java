package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** SRs, PBDs and VDIs, with the driver of type file. */
class StorageTest {
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

  private static Path directory(String name) {
    return server.directory.resolve(name);
  }

  /** The image of a VDI. */
  static Path image(Path sr, String uuid) throws Exception {
    try (Stream<Path> files = Files.walk(sr)) {
      return files
          .filter(f -> f.getFileName().toString().equals(uuid + ".raw"))
          .findFirst()
          .orElseThrow();
    }
  }

  @Test
  void anSrIsMadeAndDestroyed() throws Exception {
    String sr = root.sr(directory("made"));
    Map<String, Value> record = root.record("SR", sr);
    assertThat(TestServer.texts(record.get("VDIs"))).isEmpty();
    assertThat(TestServer.text(record.get("physical_size"))).isNotEqualTo("0");
    String pbd = TestServer.texts(record.get("PBDs")).getFirst();
    assertThat(root.call("PBD.get_currently_attached", pbd)).isEqualTo(Value.of(true));
    String vdi = root.vdi(sr, "a", 1 << 20);
    assertCode("SR_NOT_EMPTY", () -> root.call("SR.destroy", sr));
    root.call("VDI.destroy", vdi);
    root.call("SR.destroy", sr);
    assertCode("HANDLE_INVALID", () -> root.record("SR", sr));
    assertCode("HANDLE_INVALID", () -> root.record("PBD", pbd));
    assertCode("SR_UNKNOWN_DRIVER", () -> create("nosuch", Map.of()));
    List<String> before = root.all("SR");
    Path mistyped = directory("no such parent").resolve("sr");
    assertCode(
        "SR_BACKEND_FAILURE_61", () -> create("file", Map.of("location", mistyped.toString())));
    assertThat(mistyped.getParent()).doesNotExist();
    assertThat(root.all("SR")).isEqualTo(before);
    assertThat(root.all("SR")).doesNotContain(sr);
  }

  @Test
  void sizesThatAreNoneAreRefused() throws Exception {
    String sr = root.sr(directory("sizes"));
    for (Object size : List.of(-1, Long.MIN_VALUE, Long.MAX_VALUE, "1e9", "9".repeat(30), "")) {
      assertThatThrownBy(() -> root.call("VDI.create", vdiOf(sr, size)))
          .as("%s", size)
          .isInstanceOfSatisfying(
              XenApiException.class, e -> assertThat(e.code()).isNotEqualTo("INTERNAL_ERROR"));
      assertThat(TestServer.texts(root.call("SR.get_VDIs", sr))).isEmpty();
    }
    String vdi = root.vdi(sr, "a", 1 << 20);
    for (Object size : List.of(-1, 0, Long.MIN_VALUE, Long.MAX_VALUE, "9".repeat(30))) {
      assertThatThrownBy(() -> root.call("VDI.resize", vdi, size))
          .as("%s", size)
          .isInstanceOfSatisfying(
              XenApiException.class, e -> assertThat(e.code()).isNotEqualTo("INTERNAL_ERROR"));
    }
    assertThat(root.call("VDI.get_virtual_size", vdi)).isEqualTo(Value.of("1048576"));
    root.call("VDI.destroy", vdi);
    root.call("SR.destroy", sr);
  }

  private static Map<String, Object> vdiOf(String sr, Object size) {
    return RecordsTest.required(
        "VDI", Map.of("name_label", "x", "SR", sr, "virtual_size", size, "type", "user"));
  }

  private static String create(String type, Map<String, String> config) throws Exception {
    return root.text(
        "SR.create", root.only("host"), config, 0, "x", "", type, "user", false, Map.of());
  }

  private static List<String> allowed(String type, String object) throws Exception {
    return TestServer.texts(root.call(type + ".get_allowed_operations", object));
  }

  @Test
  void aForgottenSrKeepsItsDisks() throws Exception {
    String sr = root.sr(directory("kept"));
    String uuid = root.text("SR.get_uuid", sr);
    String vdi = root.vdi(sr, "a", 1 << 20);
    String disk = root.text("VDI.get_uuid", vdi);
    String pbd = TestServer.texts(root.call("SR.get_PBDs", sr)).getFirst();
    assertCode("SR_HAS_PBD", () -> root.call("SR.forget", sr));
    assertThat(allowed("SR", sr)).contains("unplug").doesNotContain("forget", "plug", "destroy");
    root.call("PBD.unplug", pbd);
    assertThat(allowed("SR", sr)).containsExactly("forget", "plug", "pbd_destroy");
    assertThat(allowed("VDI", vdi)).containsExactly("forget");
    root.call("SR.forget", sr);
    assertCode("HANDLE_INVALID", () -> root.record("VDI", vdi));

    String again = root.text("SR.introduce", uuid, "again", "", "file", "user", false, Map.of());
    String plug =
        root.text(
            "PBD.create",
            Map.of(
                "host",
                root.only("host"),
                "SR",
                again,
                "device_config",
                Map.of("location", directory("kept").toString()),
                "other_config",
                Map.of()));
    root.call("PBD.plug", plug);
    String found = TestServer.texts(root.call("SR.get_VDIs", again)).getFirst();
    assertThat(root.text("VDI.get_uuid", found)).isEqualTo(disk);
    assertThat(root.text("VDI.get_name_label", found)).isEqualTo("a");
  }

  @Test
  void aScanFindsDisks() throws Exception {
    String sr = root.sr(directory("scanned"));
    String vdi = root.vdi(sr, "a", 1 << 20);
    String uuid = root.text("VDI.get_uuid", vdi);
    root.call("VDI.forget", vdi);
    assertThat(TestServer.texts(root.call("SR.get_VDIs", sr))).isEmpty();
    assertThat(virtual(sr)).isZero();
    root.call("SR.scan", sr);
    assertThat(virtual(sr)).isEqualTo(1 << 20);
    String found = TestServer.texts(root.call("SR.get_VDIs", sr)).getFirst();
    assertThat(root.text("VDI.get_uuid", found)).isEqualTo(uuid);
    root.call("SR.update", sr);
    root.call("VDI.update", found);
    assertThat(TestServer.texts(root.call("SR.get_VDIs", sr))).containsExactly(found);
  }

  @Test
  void aProbeTells() throws Exception {
    Path there = directory("probed");
    String uuid = root.text("SR.get_uuid", root.sr(there));
    assertThat(TestServer.texts(root.call("SR.get_supported_types"))).contains("file");
    String answer =
        root.text(
            "SR.probe", root.only("host"), Map.of("location", there.toString()), "file", Map.of());
    assertThat(answer).contains("<UUID>" + uuid + "</UUID>");
    // Each driver has its record, from which clients learn whether disks can be moved.
    for (String sm : root.all("SM")) {
      String[] features = {"VDI_SNAPSHOT", "VDI_MIRROR"};
      var told = assertThat(((Value.Struct) root.call("SM.get_features", sm)).members());
      if (root.text("SM.get_type", sm).equals("iso")) {
        told.doesNotContainKeys(features);
      } else {
        told.containsKeys(features);
      }
    }
  }

  @Test
  void namesReachTheDriver() throws Exception {
    String sr = root.sr(directory("named"));
    String vdi = root.vdi(sr, "a", 1 << 20);
    String uuid = root.text("VDI.get_uuid", vdi);
    root.call("SR.set_name_label", sr, "b");
    root.call("SR.set_name_description", sr, "c");
    root.call("VDI.set_name_label", vdi, "d");
    root.call("VDI.set_name_description", vdi, "e");
    assertThat(root.text("SR.get_name_label", sr)).isEqualTo("b");
    assertThat(root.text("SR.get_name_description", sr)).isEqualTo("c");
    root.call("VDI.forget", vdi);
    root.call("SR.scan", sr);
    String found = root.text("VDI.get_by_uuid", uuid);
    assertThat(root.text("VDI.get_name_label", found)).isEqualTo("d");
    assertThat(root.text("VDI.get_name_description", found)).isEqualTo("e");
  }

  @Test
  void aPbdIsPlugged() throws Exception {
    String sr = root.sr(directory("plugged"));
    String pbd = TestServer.texts(root.call("SR.get_PBDs", sr)).getFirst();
    Map<String, Object> record =
        Map.of(
            "host",
            root.only("host"),
            "SR",
            sr,
            "device_config",
            Map.of("location", directory("plugged").toString()),
            "other_config",
            Map.of());
    assertCode("PBD_EXISTS", () -> root.call("PBD.create", record));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("PBD.destroy", pbd));
    root.call("PBD.unplug", pbd);
    root.call("PBD.unplug", pbd);
    assertCode("SR_NOT_ATTACHED", () -> root.call("SR.scan", sr));
    root.call("PBD.destroy", pbd);
    String again = root.text("PBD.create", record);
    root.call("PBD.plug", again);
    root.call("PBD.plug", again);
    assertThat(root.call("PBD.get_currently_attached", again)).isEqualTo(Value.of(true));
    root.call("SR.scan", sr);

    // Somebody has moved the directory.
    root.call("PBD.unplug", again);
    Files.move(directory("plugged"), directory("elsewhere"));
    Map<String, String> config = Map.of("location", directory("elsewhere").toString());
    root.call("PBD.set_device_config", again, config);
    root.call("PBD.plug", again);
    assertThat(root.call("PBD.get_device_config", again)).isEqualTo(TestServer.value(config));
    root.call("SR.scan", sr);
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("PBD.set_device_config", again, Map.of()));
  }

  @Test
  void aDiskIsMadeResizedAndDestroyed() throws Exception {
    Path directory = directory("resized");
    String sr = root.sr(directory);
    String vdi = root.vdi(sr, "a", 1 << 20);
    Path image = image(directory, root.text("VDI.get_uuid", vdi));
    assertThat(Files.size(image)).isEqualTo(1 << 20);
    root.call("VDI.resize", vdi, 2 << 20);
    assertThat(root.call("VDI.get_virtual_size", vdi)).isEqualTo(Value.of(Long.toString(2L << 20)));
    assertThat(Files.size(image)).isEqualTo(2 << 20);
    assertCode("INVALID_VALUE", () -> root.call("VDI.resize", vdi, 1 << 20));
    assertCode("INVALID_VALUE", () -> root.vdi(sr, "b", 0));
    String vm = root.vm("with a disk", Map.of());
    root.vbd(vm, vdi, 0);
    root.call("VDI.destroy", vdi);
    assertThat(Files.exists(image)).isFalse();
    assertThat(TestServer.texts(root.call("VM.get_VBDs", vm))).isEqualTo(List.of());
  }

  private static long used(String vdi) throws Exception {
    return Long.parseLong(root.text("VDI.get_physical_utilisation", vdi));
  }

  private static long virtual(String sr) throws Exception {
    return Long.parseLong(root.text("SR.get_virtual_allocation", sr));
  }

  private static void write(Path image, int bytes) throws Exception {
    byte[] some = new byte[bytes];
    new Random(1).nextBytes(some);
    Files.write(image, some, StandardOpenOption.WRITE);
  }

  @Test
  void whatDisksTakeUpIsKnownWithoutAScan() throws Exception {
    Path directory = directory("used");
    String sr = root.sr(directory);
    String other = root.sr(directory("used too"));
    String vdi = root.vdi(sr, "a", 8 << 20);
    assertThat(used(vdi)).isZero();
    String vm = root.vm("writer", Map.of("xenferry:workload-rate", "0"));
    root.vbd(vm, vdi, 0);
    root.call("VM.start", vm, false, false);
    write(image(directory, root.text("VDI.get_uuid", vdi)), 4 << 20);
    server.server.storage().noteUse(List.of(UUID.fromString(root.text("VM.get_uuid", vm))));
    assertThat(used(vdi)).as("while its guest runs").isGreaterThanOrEqualTo(4 << 20);
    write(image(directory, root.text("VDI.get_uuid", vdi)), 6 << 20);
    root.call("VM.hard_shutdown", vm);
    assertThat(used(vdi)).as("when its guest has ended").isGreaterThanOrEqualTo(6 << 20);

    String copy = root.text("VDI.copy", vdi, other, "OpaqueRef:NULL", "OpaqueRef:NULL");
    assertThat(used(copy)).as("of a copy").isGreaterThanOrEqualTo(6 << 20);
    assertThat(virtual(other)).isEqualTo(8 << 20);
    root.call("VDI.resize", copy, 16 << 20);
    assertThat(virtual(other)).isEqualTo(16 << 20);
    root.call("VDI.destroy", copy);
    assertThat(virtual(other)).isZero();
  }
}
