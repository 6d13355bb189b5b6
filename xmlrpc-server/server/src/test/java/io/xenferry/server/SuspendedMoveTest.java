package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Suspended VMs go with their memory, and go on where they arrive. */
class SuspendedMoveTest extends BetweenHosts {
  /** A VM that has written something and is suspended. */
  private static Traveller sleeper(String name) throws Exception {
    Traveller t = hosts.traveller(name, 1);
    source.call("VM.set_suspend_SR", t.vm(), from);
    t.start();
    t.awaitWrites();
    source.call("VM.suspend", t.vm());
    assertThat(t.powerState()).isEqualTo("Suspended");
    return t;
  }

  private static List<String> disks(TestServer.Calls server, String sr) throws XenApiException {
    return TestServer.texts(server.call("SR.get_VDIs", sr));
  }

  @Test
  void itGoesOnAtTheDestinationAndNothingStays() throws Exception {
    Traveller t = sleeper("sleeper");
    String image = source.text("VM.get_suspend_VDI", t.vm());
    String imageUuid = source.text("VDI.get_uuid", image);
    t.check();

    String moved = t.move();

    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Suspended");
    String arrived = destination.text("VM.get_suspend_VDI", moved);
    Map<String, Value> record = destination.record("VDI", arrived);
    assertThat(record.get("SR")).isEqualTo(Value.of(to));
    assertThat(record.get("type")).isEqualTo(Value.of("suspend"));
    assertThat(record.get("name_label")).isEqualTo(Value.of("Suspend image"));
    assertThat(((Value.Struct) record.get("sm_config")).members())
        .doesNotContainKey("xenferry:migration");
    assertCode("UUID_INVALID", () -> source.text("VM.get_by_uuid", t.uuid()));
    assertCode("UUID_INVALID", () -> source.text("VDI.get_by_uuid", imageUuid));
    assertThat(disks(source, from)).doesNotContain(image);
    assertThat(TestServer.texts(destination.call("VM.get_allowed_operations", moved)))
        .contains("resume", "migrate_send");

    destination.call("VM.resume", moved, false, false);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    t.awaitWrites();
    destination.call("VM.hard_shutdown", moved);
    assertThat(disks(destination, to)).doesNotContain(arrived);
    t.assertNothingLost(t.arrived());
  }

  @Test
  @Tag("slow")
  void aCopyIsMadeByForceOnlyAndTheOriginalGoesOn() throws Exception {
    Traveller t = sleeper("original");
    assertCode("VM_BAD_POWER_STATE", () -> t.move("copy", "true"));
    String image = source.text("VM.get_suspend_VDI", t.vm());

    String copy = t.move("copy", "true", "force", "true");

    assertThat(destination.text("VM.get_uuid", copy)).isNotEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Suspended");
    assertThat(t.powerState()).isEqualTo("Suspended");
    assertThat(source.text("VM.get_suspend_VDI", t.vm())).isEqualTo(image);
    destination.call("VM.resume", copy, true, false);
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Paused");
    destination.call("VM.hard_shutdown", copy);
    source.call("VM.resume", t.vm(), false, false);
    t.awaitWrites();
    t.end();
    t.assertNothingLostHere();
  }

  @Test
  void oneThatIsCancelledIsWhereItWas() throws Exception {
    Traveller t = sleeper("cancelled");
    int there = disks(destination, to).size();
    String task = hosts.begin(t, 256 << 10);
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> source.call("VM.resume", t.vm(), false, false));
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> t.end());
    hosts.cancel(task);
    assertThat(t.powerState()).isEqualTo("Suspended");
    await().atMost(TwoHosts.LONG).until(() -> disks(destination, to).size() == there);
    source.call("VM.resume", t.vm(), false, false);
    t.awaitWrites();
    t.end();
    t.assertNothingLostHere();
  }

  @Test
  void oneWithoutItsMemoryStays() throws Exception {
    Traveller t = sleeper("forgetful");
    String image = source.text("VM.get_suspend_VDI", t.vm());
    source.call("VDI.destroy", image);
    assertCode("VM_HAS_NO_SUSPEND_VDI", t::move);
    t.end();
  }

  @Test
  @Tag("slow")
  void theKeptOneIsLocked() throws Exception {
    Traveller t = sleeper("kept");
    t.move("keep-source", "true");
    await().until(() -> !source.text("VM.get_uuid", t.vm()).equals(t.uuid()));
    assertCode("VM_BAD_POWER_STATE", () -> source.call("VM.resume", t.vm(), false, false));
    assertCode("OPERATION_BLOCKED", () -> source.call("VM.start", t.vm(), false, false));
  }
}
