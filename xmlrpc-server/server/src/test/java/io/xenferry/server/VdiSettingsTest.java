package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Who may have disks and how, with simulated guests. */
class VdiSettingsTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    sr = root.sr(server.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static String vm(String name, String vdi) throws XenApiException {
    String vm = root.vm(name, Map.of());
    root.vbd(vm, vdi, 0);
    return vm;
  }

  @Test
  void aDiskIsNotShared() throws Exception {
    String vdi = root.vdi(sr, "shared", 1 << 20);
    root.call("VDI.set_sharable", vdi, false);
    assertThat(
            assertCode("SR_OPERATION_NOT_SUPPORTED", () -> root.call("VDI.set_sharable", vdi, true))
                .params())
        .containsExactly(sr);
    assertThat(root.call("VDI.get_sharable", vdi)).isEqualTo(Value.of(false));
    assertCode("HANDLE_INVALID", () -> root.call("VDI.set_sharable", "OpaqueRef:no", false));
    Map<String, Object> record = Map.of("SR", sr, "virtual_size", 1 << 20, "sharable", true);
    assertCode(
        "SR_OPERATION_NOT_SUPPORTED",
        () -> root.call("VDI.create", RecordsTest.required("VDI", record)));
  }

  @Test
  void aDiskIsOnlyRead() throws Exception {
    String vdi = root.vdi(sr, "read", 1 << 20);
    String vm = vm("reader", vdi);
    root.call("VM.start", vm, true, false);
    assertCode("VDI_IN_USE", () -> root.call("VDI.set_read_only", vdi, true));
    root.call("VM.hard_shutdown", vm);
    root.call("VDI.set_read_only", vdi, true);
    assertThat(assertCode("VDI_READONLY", () -> root.call("VM.start", vm, true, false)).params())
        .containsExactly(vdi);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Halted");
    root.call("VDI.set_read_only", vdi, false);
    root.call("VM.start", vm, true, false);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void whatADriverCannotIsRefused() throws Exception {
    String vdi = root.vdi(sr, "plain", 1 << 20);
    root.call("VDI.set_on_boot", vdi, "persist");
    assertThat(
            assertCode(
                    "SR_OPERATION_NOT_SUPPORTED", () -> root.call("VDI.set_on_boot", vdi, "reset"))
                .params())
        .containsExactly(sr);
    assertThat(root.text("VDI.get_on_boot", vdi)).isEqualTo("persist");
    root.call("SR.set_shared", sr, false);
    assertThat(assertCode("SR_NOT_SHARABLE", () -> root.call("SR.set_shared", sr, true)).params())
        .containsExactly(sr, root.only("host"));
    assertThat(root.call("VDI.get_nbd_info", vdi)).isEqualTo(Value.EMPTY_ARRAY);
    assertCode("HANDLE_INVALID", () -> root.call("VDI.get_nbd_info", "OpaqueRef:none"));
  }

  private static String introduce(String uuid, String location, Map<String, String> config)
      throws XenApiException {
    return root.text(
        "VDI.introduce",
        uuid,
        "found",
        "again",
        sr,
        "user",
        false,
        false,
        Map.of("k", "v"),
        location,
        Map.of(),
        config);
  }

  @Test
  void aForgottenDiskIsIntroduced() throws Exception {
    String vdi = root.vdi(sr, "lost", 3 << 20);
    String uuid = root.text("VDI.get_uuid", vdi);
    String location = root.text("VDI.get_location", vdi);
    assertCode(
        "LOCATION_NOT_UNIQUE", () -> introduce(UUID.randomUUID().toString(), location, Map.of()));
    root.call("VDI.forget", vdi);
    String found = introduce(uuid, location, Map.of("own", "1", "xenferry-migration", "x"));
    assertThat(root.text("VDI.get_uuid", found)).isEqualTo(uuid);
    assertThat(root.text("VDI.get_name_label", found)).isEqualTo("found");
    assertThat(root.text("VDI.get_virtual_size", found)).isEqualTo(Long.toString(3 << 20));
    assertThat(TestServer.member(root.call("VDI.get_other_config", found), "k"))
        .isEqualTo(Value.of("v"));
    Map<String, Value> config = ((Value.Struct) root.call("VDI.get_sm_config", found)).members();
    assertThat(config).containsEntry("own", Value.of("1")).doesNotContainKey("xenferry-migration");
    root.call("SR.scan", sr);
    assertThat(root.text("VDI.get_name_label", found)).isEqualTo("found");
    for (String nowhere : List.of(UUID.randomUUID().toString(), "../../etc/passwd", "")) {
      XenApiException e = null;
      try {
        introduce(UUID.randomUUID().toString(), nowhere, Map.of());
      } catch (XenApiException refused) {
        e = refused;
      }
      assertThat(e).as(nowhere).isNotNull();
      assertThat(e.code()).as(nowhere).isNotEqualTo("INTERNAL_ERROR");
    }
    String other = root.vdi(sr, "other", 1 << 20);
    String place = root.text("VDI.get_location", other);
    root.call("VDI.forget", other);
    assertCode("DB_UNIQUENESS_CONSTRAINT_VIOLATION", () -> introduce(uuid, place, Map.of()));
    root.call("VDI.destroy", found);
  }

  @Test
  void aProbeFindsAnSr() throws Exception {
    Value found =
        root.call(
            "SR.probe_ext",
            root.only("host"),
            Map.of("location", server.directory.resolve("sr").toString()),
            "file");
    Value one = ((Value.Array) found).items().getFirst();
    assertThat(TestServer.member(TestServer.member(one, "sr"), "uuid"))
        .isEqualTo(Value.of(root.text("SR.get_uuid", sr)));
    assertThat(TestServer.member(TestServer.member(one, "sr"), "health"))
        .isEqualTo(Value.of("healthy"));
    assertThat(TestServer.member(one, "complete")).isEqualTo(Value.of(true));
    assertCode(
        "SR_UNKNOWN_DRIVER",
        () -> root.call("SR.probe_ext", root.only("host"), Map.of(), "nothing"));
  }
}
