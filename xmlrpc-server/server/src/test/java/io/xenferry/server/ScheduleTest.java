package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Snapshots by schedules; when they are due is {@code SnapshotSchedulesTest}'s part. */
class ScheduleTest {
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

  private static String schedule(Object... fields) throws XenApiException {
    Map<String, Object> record = new LinkedHashMap<>();
    record.put("name_label", "nightly");
    record.put("type", "snapshot");
    record.put("frequency", "daily");
    for (int i = 0; i < fields.length; i += 2) {
      record.put((String) fields[i], fields[i + 1]);
    }
    return root.text("VMSS.create", record);
  }

  private static Map<String, Value> times(String schedule) throws XenApiException {
    return ((Value.Struct) root.call("VMSS.get_schedule", schedule)).members();
  }

  @Test
  void aScheduleIsChecked() throws Exception {
    String schedule = schedule("schedule", Map.of("hour", "3"));
    assertThat(times(schedule)).containsOnly(entry("hour", "3"), entry("min", "0"));
    root.call("VMSS.set_frequency", schedule, "weekly");
    assertThat(times(schedule))
        .containsOnly(entry("hour", "3"), entry("min", "0"), entry("days", "Monday"));
    root.call("VMSS.set_schedule", schedule, Map.of("days", "Sunday,Friday", "min", "45"));
    root.call("VMSS.add_to_schedule", schedule, "hour", "23");
    assertCode("MAP_DUPLICATE_KEY", () -> root.call("VMSS.add_to_schedule", schedule, "hour", "1"));
    root.call("VMSS.remove_from_schedule", schedule, "hour");
    XenApiException wrong =
        assertCode("INVALID_VALUE", () -> root.call("VMSS.add_to_schedule", schedule, "min", "7"));
    assertThat(wrong.params()).containsExactly("schedule:min", "7");
    for (Map<String, String> none :
        List.of(
            Map.of("hour", "24"),
            Map.of("min", ""),
            Map.of("days", "Mon"),
            Map.of("days", "Monday,"),
            Map.of("week", "1"))) {
      assertCode("INVALID_VALUE", () -> root.call("VMSS.set_schedule", schedule, none));
      assertCode("INVALID_VALUE", () -> schedule("frequency", "weekly", "schedule", none));
    }
    assertCode(
        "INVALID_VALUE", () -> schedule("frequency", "hourly", "schedule", Map.of("hour", "3")));
    assertCode("INVALID_VALUE", () -> root.call("VMSS.set_frequency", schedule, "yearly"));
    for (int retained : List.of(0, 11)) {
      assertCode(
          "INVALID_VALUE", () -> root.call("VMSS.set_retained_snapshots", schedule, retained));
      assertCode("INVALID_VALUE", () -> schedule("retained_snapshots", retained));
    }
    root.call("VMSS.set_type", schedule, "checkpoint");
    // Nobody in a guest is asked to hold its writes back.
    assertCode(
        "LICENCE_RESTRICTION", () -> root.call("VMSS.set_type", schedule, "snapshot_with_quiesce"));
    assertCode("LICENCE_RESTRICTION", () -> schedule("type", "snapshot_with_quiesce"));
    assertThat(root.text("VMSS.get_type", schedule)).isEqualTo("checkpoint");
    root.call("VMSS.destroy", schedule);
  }

  private static Map.Entry<String, Value> entry(String key, String value) {
    return Map.entry(key, Value.of(value));
  }

  @Test
  void aScheduleWithVmsStays() throws Exception {
    String schedule = schedule();
    String vm = root.vm("scheduled", Map.of());
    root.call("VM.set_snapshot_schedule", vm, schedule);
    assertThat(TestServer.texts(root.call("VMSS.get_VMs", schedule))).containsExactly(vm);
    assertCode("VMSS_HAS_VM", () -> root.call("VMSS.destroy", schedule));
    String template =
        TestServer.texts(root.call("VM.get_by_name_label", "Other install media")).getFirst();
    assertCode("VM_IS_TEMPLATE", () -> root.call("VM.set_snapshot_schedule", template, schedule));
    assertCode("HANDLE_INVALID", () -> root.call("VM.set_snapshot_schedule", vm, "OpaqueRef:none"));
    String clone = root.text("VM.clone", vm, "not scheduled");
    assertThat(root.text("VM.get_snapshot_schedule", clone)).isEqualTo(Ref.nullRef().opaque());
    root.call("VM.set_snapshot_schedule", vm, Ref.nullRef().opaque());
    root.call("VMSS.destroy", schedule);
    assertCode("HANDLE_INVALID", () -> root.call("VMSS.get_uuid", schedule));
  }

  @Test
  void theOldestSnapshotsGo() throws Exception {
    String schedule = schedule("retained_snapshots", 2);
    String uuid = root.text("VMSS.get_uuid", schedule);
    String vm = root.vm("kept", Map.of());
    root.vbd(vm, root.vdi(sr, "disk", 4 << 20), 0);
    String own = root.text("VM.snapshot", vm, "by hand", List.of());
    root.call("VM.set_snapshot_schedule", vm, schedule);
    List<String> taken = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      String snapshot = root.text("VM.get_by_uuid", root.text("VMSS.snapshot_now", schedule));
      assertThat(root.call("VM.get_is_vmss_snapshot", snapshot)).isEqualTo(Value.of(true));
      assertThat(root.text("VM.get_snapshot_schedule", snapshot)).isEqualTo(Ref.nullRef().opaque());
      assertThat(root.text("VM.get_name_label", snapshot)).startsWith("kept nightly 2");
      taken.add(snapshot);
    }
    assertThat(TestServer.texts(root.call("VM.get_snapshots", vm)))
        .as("what was taken by hand stays")
        .containsExactlyInAnyOrder(own, taken.get(2), taken.get(3));
    assertThat(TestServer.texts(root.call("VDI.get_by_name_label", "disk")))
        .as("the disk, and one of each snapshot")
        .hasSize(4);
    assertThat(root.call("VMSS.get_last_run_time", schedule))
        .isNotEqualTo(Value.of(java.time.Instant.EPOCH));
    assertThat(alerts(uuid)).hasSize(4).containsOnly("VMSS_SNAPSHOT_SUCCEEDED");
    root.call("VM.set_blocked_operations", vm, Map.of("snapshot", "not now"));
    XenApiException e =
        assertCode("OPERATION_PARTIALLY_FAILED", () -> root.call("VMSS.snapshot_now", schedule));
    assertThat(e.params()).containsExactly("VMSS.snapshot_now", vm);
    assertThat(alerts(uuid)).contains("VMSS_SNAPSHOT_FAILED");
    root.call("VM.set_snapshot_schedule", vm, Ref.nullRef().opaque());
    root.call("VMSS.destroy", schedule);
    assertThat(alerts(uuid)).isEmpty();
  }

  private static List<String> alerts(String uuid) throws XenApiException {
    List<String> names = new ArrayList<>();
    for (Value alert : ((Value.Struct) root.call("message.get_all_records")).members().values()) {
      if (TestServer.text(TestServer.member(alert, "obj_uuid")).equals(uuid)) {
        names.add(TestServer.text(TestServer.member(alert, "name")));
      }
    }
    return names;
  }
}
