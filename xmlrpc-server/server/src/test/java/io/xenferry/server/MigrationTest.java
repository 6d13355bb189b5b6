package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Moves that come to their end, over iSCSI, of simulated guests. */
class MigrationTest extends BetweenHosts {
  @Test
  void aCopyHasAnIdentityOfItsOwn() throws Exception {
    Traveller t = hosts.traveller("original", 2);
    String copy = t.move("copy", "true");
    assertThat(destination.text("VM.get_uuid", copy)).isNotEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", copy)).isEqualTo("Halted");
    String mac = "VIF.get_MAC";
    assertThat(destination.text(mac, vif(destination, copy)))
        .isNotEqualTo(source.text(mac, vif(source, t.vm())));
    List<Path> copies = t.arrived(copy);
    assertThat(copies).hasSize(2);
    for (int i = 0; i < copies.size(); i++) {
      Path original = hosts.image(t.uuids().get(i));
      assertThat(Files.mismatch(original, copies.get(i))).as("first difference").isEqualTo(-1);
    }
    t.start();
    destination.call("VM.start", copy, true, false);
    destination.call("VM.hard_shutdown", copy);
    t.end();
  }

  private static String vif(TestServer.Calls server, String vm) throws XenApiException {
    return TestServer.texts(server.call("VM.get_VIFs", vm)).getFirst();
  }

  @Test
  void aSourceThatIsKeptCannotStart() throws Exception {
    Traveller t = hosts.traveller("kept", 1);
    t.start();
    assertThat(TestServer.texts(source.call("VM.get_consoles", t.vm()))).isNotEmpty();
    String moved = t.move("keep-source", "True", "verify", "true");
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    await().until(() -> !source.text("VM.get_uuid", t.vm()).equals(t.uuid()));
    assertThat(t.powerState()).isEqualTo("Halted");
    assertThat(TestServer.texts(source.call("VM.get_consoles", t.vm()))).isEmpty();
    String vbd = TestServer.texts(source.call("VM.get_VBDs", t.vm())).getFirst();
    assertThat(source.call("VBD.get_currently_attached", vbd)).isEqualTo(Value.of(false));
    assertThat(source.call("VIF.get_currently_attached", vif(source, t.vm())))
        .isEqualTo(Value.of(false));
    assertThat(hosts.image(t.uuids().getFirst())).exists();
    assertCode("OPERATION_BLOCKED", () -> source.call("VM.start", t.vm(), false, false));
    destination.call("VM.hard_shutdown", moved);
    t.assertNothingLost(t.arrived());
  }

  @Test
  void disksKeepTheirNamesWhateverIsDoneWithThemAfterwards() throws Exception {
    Traveller t = hosts.traveller("named", 1);
    source.call("VDI.set_name_description", t.vdis().getFirst(), "what it is for");
    String moved = t.move();
    String clone = destination.text("VM.clone", moved, "clone");
    List<String> disks = new ArrayList<>();
    for (String vm : List.of(moved, clone)) {
      String vbd = TestServer.texts(destination.call("VM.get_VBDs", vm)).getFirst();
      disks.add(destination.text("VBD.get_VDI", vbd));
    }
    String uuid = destination.text("VDI.get_uuid", disks.getFirst());
    destination.call("VDI.forget", disks.removeFirst());
    destination.call("SR.scan", to);
    disks.add(destination.text("VDI.get_by_uuid", uuid));
    for (String disk : disks) {
      assertThat(destination.text("VDI.get_name_label", disk)).isEqualTo("named0");
      assertThat(destination.text("VDI.get_name_description", disk)).isEqualTo("what it is for");
    }
  }

  private static Map<String, Value> said(TestServer.Calls server, String vm) throws Exception {
    Value all = server.call("message.get", "VM", vm, Value.of(Instant.EPOCH));
    return ((Value.Struct) all).members();
  }

  @Test
  void whatWasSaidOfItGoesAlong() throws Exception {
    Traveller t = hosts.traveller("spoken of", 1);
    Traveller other = hosts.traveller("stays", 1);
    String note = source.text("message.create", "NOTE", 3, "VM", t.uuid(), "<keep> & \"this\"");
    String stays = source.text("message.create", "NOTE", 3, "VM", other.uuid(), "");
    Map<String, Value> before = said(source, t.uuid());
    assertThat(before).containsKey(note);

    String moved = t.move();

    assertThat(said(destination, t.uuid())).containsAllEntriesOf(before);
    assertThat(said(source, t.uuid())).containsKey(note);
    assertThat(said(source, other.uuid())).containsKey(stays);
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Halted");
  }

  @Test
  void whatWasSaidOfItStaysWithItWhenItStays() throws Exception {
    Traveller t = hosts.traveller("cancelled", 1);
    t.start();
    String note = source.text("message.create", "NOTE", 3, "VM", t.uuid(), "stay");
    String task = t.moveAsync("bandwidth", Integer.toString(64 << 10));
    await().atMost(TwoHosts.LONG).until(() -> said(destination, t.uuid()).containsKey(note));
    source.call("task.cancel", task);
    assertThat(hosts.awaitEnd(task)).isEqualTo("cancelled");
    await().atMost(TwoHosts.LONG).until(() -> said(destination, t.uuid()).isEmpty());
    assertThat(said(source, t.uuid())).containsKey(note);
    t.end();
  }

  @Test
  void movesARunningVmWithItsDisks() throws Exception {
    Traveller t = hosts.traveller("runner", 2);
    t.start();
    t.awaitWrites();
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    List<String> serials = hosts.here.serials(t.uuid());
    assertThat(serials).hasSize(2).doesNotHaveDuplicates();
    String moved = source.text("VM.migrate_send", t.arguments());
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid());
    assertThat(hosts.there.serials(t.uuid())).isEqualTo(serials);
    // The call returns when the record is as it will stay, and the source has nothing left.
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Running");
    assertThat(((Value.Struct) destination.call("VM.get_other_config", moved)).members())
        .doesNotContainKeys("xenferry:migration", "HideFromXenCenter");
    assertThat(destination.text("VM.get_resident_on", moved)).isEqualTo(destination.only("host"));
    assertThat(TwoHosts.objects(hosts.there).get("VDI")).isEqualTo(before.get("VDI") + 2);
    for (Path image : t.arrived()) {
      String uuid = image.getFileName().toString().replace(".raw", "");
      String vdi = destination.text("VDI.get_by_uuid", uuid);
      assertThat(Long.parseLong(destination.text("VDI.get_physical_utilisation", vdi)))
          .isGreaterThan(TwoHosts.SIZE / 4);
    }
    assertThat(TwoHosts.objects(hosts.there).get("VIF")).isEqualTo(before.get("VIF") + 1);
    assertCode("UUID_INVALID", () -> source.text("VM.get_by_uuid", t.uuid()));
    Path guest = hosts.here.directory.resolve("guests").resolve(t.uuid());
    await().atMost(TwoHosts.LONG).until(() -> Files.notExists(guest));
    for (String vdi : t.uuids()) {
      assertCode("UUID_INVALID", () -> source.text("VDI.get_by_uuid", vdi));
    }
    t.awaitWrites();
    Verdict verdict = t.endThere(moved);
    assertThat(verdict.handovers()).isEqualTo(1);
    // Its disks are other VDIs, and the same to the guest.
    destination.call("VM.start", moved, false, false);
    assertThat(hosts.there.serials(t.uuid())).isEqualTo(serials);
    destination.call("VM.hard_shutdown", moved);
    // The disks are the destination's own now.
    for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
      destination.call("VDI.destroy", destination.text("VBD.get_VDI", vbd));
    }
    destination.call("VM.destroy", moved);
  }

  @Test
  void movesByReceiveAndMigrate() throws Exception {
    Traveller t = hosts.traveller("halted", 1);
    String pool = destination.only("pool");
    String key = "xenferry:network";
    destination.call("pool.add_to_other_config", pool, key, "gone");
    SessionTest.assertCode(
        "INVALID_VALUE",
        () -> destination.call("VM.receive", destination.only("host"), to, Map.of()));
    destination.call("pool.remove_from_other_config", pool, key);
    String network = destination.text("network.get_uuid", destination.only("network"));
    destination.call("pool.add_to_other_config", pool, key, network);
    String appliance =
        source.text("VM_appliance.create", Map.of("name_label", "a", "name_description", ""));
    source.call("VM.set_appliance", t.vm(), appliance);
    String schedule =
        source.text(
            "VMSS.create", Map.of("name_label", "s", "type", "snapshot", "frequency", "daily"));
    source.call("VM.set_snapshot_schedule", t.vm(), schedule);
    source.call("VM.set_bios_strings", t.vm(), Map.of("bios-vendor", "Yard"));
    Value token = destination.call("VM.receive", destination.only("host"), to, Map.of());
    String moved = source.text("VM.migrate", t.vm(), token, true, Map.of());
    assertThat(destination.text("VM.get_uuid", moved)).isEqualTo(t.uuid());
    assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Halted");
    // What one pool's records say of it means nothing in the other; what its machine is goes along.
    for (String field : List.of("appliance", "snapshot_schedule")) {
      assertThat(destination.text("VM.get_" + field, moved)).isEqualTo("OpaqueRef:NULL");
    }
    assertThat(destination.call("VM.get_bios_strings", moved))
        .isEqualTo(TestServer.value(Map.of("bios-vendor", "Yard")));
    source.call("VMSS.destroy", schedule);
    assertThat(TestServer.texts(source.call("VM_appliance.get_VMs", appliance))).isEmpty();
    t.assertNothingLost(t.arrived());
    destination.call("VM.start", moved, false, false);
    destination.call("VM.hard_shutdown", moved);
  }
}
