package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Moves of VMs whose disks somebody else has as well, or that have disks in unusual ways. */
class SharedDiskTest extends BetweenHosts {
  @Test
  void aDiskThatAnotherVmHasStaysWithIt() throws Exception {
    Traveller t = hosts.traveller("shares", 1);
    String other = source.vm("other", Map.of());
    source.vbd(other, t.vdis().getFirst(), 0);
    String vbd = TestServer.texts(source.call("VM.get_VBDs", other)).getFirst();
    for (String message : List.of("VM.assert_can_migrate", "VM.migrate_send")) {
      assertCode("VDI_IN_USE", () -> source.call(message, t.arguments()));
    }
    source.call("VM.start", other, true, false);
    assertCode("VDI_IN_USE", () -> t.move("copy", "true"));
    source.call("VM.hard_shutdown", other);
    // Nobody writes it now, and a copy takes nothing away.
    t.move("copy", "true");
    source.call("VBD.destroy", vbd);
    t.move();
    assertCode("HANDLE_INVALID", () -> source.call("VDI.get_uuid", t.vdis().getFirst()));
  }

  @Test
  void aDiskThatIsExportedIsNotMoved() throws Exception {
    Traveller t = hosts.traveller("exported", 1);
    Map<String, Object> disk = volume(source, from, t.uuids().getFirst());
    assertThat(storage(hosts.here, "VDI.get_url", disk)).isEqualTo("Success");
    assertCode("VDI_IN_USE", t::move);
    assertThat(storage(hosts.here, "VDI.close_url", disk)).isEqualTo("Success");
    t.move();
  }

  private static Map<String, Object> volume(TestServer.Calls server, String sr, String vdi)
      throws Exception {
    return Map.of("dbg", "test", "sr", server.text("SR.get_uuid", sr), "vdi", vdi);
  }

  /** The status of a call of the storage interface. */
  private static String storage(TestServer server, String method, Map<String, Object> arguments)
      throws Exception {
    Value.Struct answer = SmapiTest.call(server, server.calls().session(), method, arguments);
    return TestServer.text(answer.members().get("Status"));
  }

  private static Map<String, Object> and(Map<String, Object> disk, Map<String, Object> more) {
    Map<String, Object> all = new LinkedHashMap<>(disk);
    all.putAll(more);
    return all;
  }

  @Test
  void theStorageInterfaceKeepsItsHandsOffDisksThatMove() throws Exception {
    Traveller t = hosts.traveller("untouched", 1);
    Map<String, Object> leaving = volume(source, from, t.uuids().getFirst());
    String task = hosts.begin(t, 256 << 10);
    String arrivingVm = destination.text("VM.get_by_uuid", t.uuid());
    String vbd = TestServer.texts(destination.call("VM.get_VBDs", arrivingVm)).getFirst();
    String uuid = destination.text("VDI.get_uuid", destination.text("VBD.get_VDI", vbd));
    Map<String, Object> arriving = volume(destination, to, uuid);
    Map<String, Object> datapath = Map.of("dp", "mine", "vm", "0", "read_write", true);
    for (String method :
        List.of("VDI.get_url", "VDI.close_url", "VDI.attach3", "VDI.activate3", "VDI.resize")) {
      assertThat(storage(hosts.here, method, and(leaving, datapath)))
          .as(method + " at the source")
          .isEqualTo("Failure");
      assertThat(storage(hosts.there, method, and(arriving, datapath)))
          .as(method + " at the destination")
          .isEqualTo("Failure");
    }
    hosts.cancel(task);
  }

  @Test
  void whatIsNotPluggedInGoesAlong() throws Exception {
    Traveller t = hosts.traveller("unplugged", 2);
    t.start();
    t.awaitWrites();
    String second = TestServer.texts(source.call("VM.get_VBDs", t.vm())).get(1);
    if (source.text("VBD.get_userdevice", second).equals("0")) {
      second = TestServer.texts(source.call("VM.get_VBDs", t.vm())).get(0);
    }
    source.call("VBD.unplug", second);
    // The same disk again, as nobody would: there is one of it at the destination all the same.
    source.vbd(t.vm(), t.vdis().get(1), 5);
    Map<String, Integer> before = TwoHosts.objects(hosts.there);
    String moved = t.move();
    assertThat(TwoHosts.objects(hosts.there).get("VDI")).isEqualTo(before.get("VDI") + 2);
    Map<String, String> attached = new LinkedHashMap<>();
    for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
      attached.put(
          destination.text("VBD.get_userdevice", vbd),
          destination.call("VBD.get_currently_attached", vbd).toString());
    }
    assertThat(attached).hasSize(3);
    assertThat(attached.get("0")).isEqualTo(Value.of(true).toString());
    assertThat(attached.get("1")).isEqualTo(Value.of(false).toString());
    assertThat(attached.get("5")).isEqualTo(Value.of(false).toString());
    t.awaitWrites();
    List<Path> images = t.arrived().subList(0, 2);
    destination.call("VM.hard_shutdown", moved);
    t.assertNothingLost(images);
  }
}
