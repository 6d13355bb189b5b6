package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What may be done with VMs that have a snapshot with memory, and with that; simulated guests. */
class CheckpointedVmTest extends BetweenHosts {
  private static final String NONE = "OpaqueRef:NULL";

  @BeforeAll
  static void memoryHasItsPlace() throws Exception {
    source.call("pool.set_suspend_image_SR", source.only("pool"), from);
  }

  /** A VM that runs; the SR snapshots no disk that a VM writes, so it has none yet. */
  private static String vm(String name) throws Exception {
    String vm = source.vm(name, Map.of());
    source.call("VM.start", vm, false, false);
    return vm;
  }

  private static String state(String vm) throws XenApiException {
    return source.text("VM.get_power_state", vm);
  }

  private static Object[] toTheOther(String vm, Map<String, String> vdis, boolean copy)
      throws XenApiException {
    Map<String, String> options = copy ? Map.of("copy", "true") : Map.of();
    return new Object[] {vm, hosts.token(), true, vdis, Map.of(), options};
  }

  private static void assertStays(String vm, Map<String, String> vdis) throws Exception {
    Map<String, Integer> there = TwoHosts.objects(hosts.there);
    Map<String, Integer> here = TwoHosts.objects(hosts.here);
    String before = state(vm);
    for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
      Object[] arguments = toTheOther(vm, vdis, false);
      XenApiException e = assertCode("VM_HAS_CHECKPOINT", () -> source.call(message, arguments));
      assertThat(e.params()).containsExactly(vm);
    }
    assertThat(state(vm)).isEqualTo(before);
    assertThat(((Value.Struct) source.call("VM.get_current_operations", vm)).members()).isEmpty();
    assertThat(TwoHosts.objects(hosts.here)).isEqualTo(here);
    there.remove("session");
    assertThat(TwoHosts.objects(hosts.there)).containsAllEntriesOf(there);
    assertThat(hosts.here.server.coordinator().statuses()).isEmpty();
  }

  @Test
  void itDoesNotLeaveItsHostUntilTheCheckpointIsGone() throws Exception {
    String vm = vm("kept here");
    source.text("VM.snapshot", vm, "plain", List.of());
    String checkpoint = source.text("VM.checkpoint", vm, "then");
    assertStays(vm, Map.of());
    source.call("VM.suspend", vm);
    assertStays(vm, Map.of());
    source.call("VM.hard_shutdown", vm);
    String vdi = source.vdi(from, "disk", 4 << 20);
    source.vbd(vm, vdi, 0);
    assertStays(vm, Map.of(vdi, to));

    // A copy has no past, and within the host nothing stays behind.
    String copy = source.text("VM.migrate_send", toTheOther(vm, Map.of(vdi, to), true));
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Halted");
    assertThat(TestServer.texts(destination.call("VM.get_snapshots", copy))).isEmpty();
    source.call("VM.start", vm, false, false);
    source.call("VM.pool_migrate", vm, source.only("host"), Map.of());
    String other = source.sr(hosts.here.directory.resolve("other"));
    Value own = source.token();
    source.call("VM.migrate_send", vm, own, true, Map.of(vdi, other), Map.of(), Map.of());
    String now =
        source.text("VBD.get_VDI", TestServer.texts(source.call("VM.get_VBDs", vm)).getFirst());
    assertThat(source.text("VDI.get_SR", now)).isEqualTo(other);
    assertThat(source.text("VM.get_power_state", checkpoint)).isEqualTo("Suspended");

    source.call("VM.destroy", checkpoint);
    String uuid = source.text("VM.get_uuid", vm);
    String moved = source.text("VM.migrate_send", toTheOther(vm, Map.of(now, to), false));
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(uuid);
    assertThat(TestServer.texts(destination.call("VM.get_snapshots", moved))).hasSize(1);
    destination.call("VM.hard_shutdown", moved);
    assertThat(source.all("VDI")).isEmpty();
  }

  @Test
  void aCheckpointIsNothingThatRuns() throws Exception {
    String vm = vm("thinker");
    String checkpoint = source.text("VM.checkpoint", vm, "then");
    assertThat(TestServer.texts(source.call("VM.get_allowed_operations", checkpoint)))
        .contains("revert", "clone", "destroy")
        .doesNotContain("resume", "start", "migrate_send", "checkpoint");
    for (String message : List.of("VM.start", "VM.resume")) {
      assertCode("VM_IS_SNAPSHOT", () -> source.call(message, checkpoint, false, false));
    }
    assertCode("VM_IS_SNAPSHOT", () -> source.call("VM.checkpoint", checkpoint, "again"));
    assertCode(
        "VM_IS_SNAPSHOT",
        () -> source.call("VM.migrate_send", toTheOther(checkpoint, Map.of(), false)));
    assertThat(state(checkpoint)).isEqualTo("Suspended");
    source.call("VM.hard_shutdown", vm);
    source.call("VM.destroy", checkpoint);
    source.call("VM.destroy", vm);
    assertThat(source.all("VDI")).isEmpty();
  }

  @Test
  void oneWhoseMemoryIsGoneLeavesTheVmRunning() throws Exception {
    String vm = vm("without past");
    String checkpoint = source.text("VM.checkpoint", vm, "then");
    String image = source.text("VM.get_suspend_VDI", checkpoint);
    assertThat(image).isNotEqualTo(NONE);
    source.call("VDI.destroy", image);
    XenApiException e =
        assertCode("VM_HAS_NO_SUSPEND_VDI", () -> source.call("VM.revert", checkpoint));
    assertThat(e.params()).containsExactly(checkpoint);
    assertThat(state(vm)).isEqualTo("Running");
    source.call("VM.destroy", checkpoint);
    source.call("VM.hard_shutdown", vm);
    source.call("VM.destroy", vm);
  }
}
