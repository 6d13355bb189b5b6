package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What goes along with a VM beside its disks and memory, and what does not: firmware and CDs. */
class FirmwareMoveTest extends BetweenHosts {
  private static Flash here;
  private static Flash there;

  @BeforeAll
  static void flash() throws Exception {
    Flash.require();
    here = new Flash(hosts.here, source);
    there = new Flash(hosts.there, destination);
  }

  private static Traveller traveller(String name) throws Exception {
    Traveller t = hosts.traveller(name, 1);
    here.uefi(t.vm());
    return t;
  }

  @Test
  void theVariablesOfHaltedAndSuspendedVmsGoAlong() throws Exception {
    Traveller t = traveller("halted");
    source.call("VM.set_suspend_SR", t.vm(), from);
    t.start();
    here.write(t.vm(), "halted");
    t.end();

    String copy = t.move("copy", "true");
    assertThat(there.inRecord(copy, 6)).isEqualTo("halted");

    t.start();
    here.write(t.vm(), "asleep");
    source.call("VM.suspend", t.vm());
    Files.createDirectories(there.fileOf(t.uuid()).getParent());
    Files.writeString(there.fileOf(t.uuid()), "of a VM that was there before");
    String moved = t.move();
    assertThat(there.inRecord(moved, 6)).isEqualTo("asleep");
    assertThat(there.file(moved)).doesNotExist();
    destination.call("VM.resume", moved, false, false);
    assertThat(there.inFile(moved, 6)).isEqualTo("asleep");
    destination.call("VM.hard_shutdown", moved);
  }

  @Test
  void theVariablesOfARunningVmAreNowhereTwice() throws Exception {
    Traveller t = traveller("running");
    t.start();
    here.write(t.vm(), "moving");
    String moved = t.move();
    assertThat(there.inFile(moved, 6)).isEqualTo("moving");
    await().atMost(TwoHosts.LONG).until(() -> Files.notExists(here.fileOf(t.uuid())));
    there.write(moved, "moved.");
    destination.call("VM.hard_shutdown", moved);
    assertThat(there.inRecord(moved, 6)).isEqualTo("moved.");
    assertThat(there.file(moved)).doesNotExist();
  }

  // ---- CDs

  private static String drive(String vm) throws XenApiException {
    return source.text(
        "VBD.create",
        RecordsTest.required(
            "VBD",
            Map.of(
                "VM",
                vm,
                "userdevice",
                "3",
                "mode",
                "RO",
                "type",
                "CD",
                "empty",
                true,
                "bootable",
                false)));
  }

  private static boolean empty(String drive) throws XenApiException {
    return source.call("VBD.get_empty", drive).equals(TestServer.value(true));
  }

  @Test
  void aCdStaysAtTheSourceAndIsPutBackWhenTheVmDoesAsWell() throws Exception {
    Traveller t = traveller("with a cd");
    String cd = source.vdi(from, "a cd", 1 << 20);
    String drive = drive(t.vm());
    t.start();
    source.call("VBD.insert", drive, cd);
    t.check();
    assertThat(empty(drive)).as("a check changes nothing").isFalse();

    String task = hosts.begin(t, 64 << 10);
    assertThat(empty(drive)).isTrue();
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> source.call("VBD.insert", drive, cd));
    hosts.cancel(task);
    assertThat(source.text("VBD.get_VDI", drive)).isEqualTo(cd);
    assertThat(source.call("VBD.get_other_config", drive)).isEqualTo(TestServer.value(Map.of()));
    assertThat(Files.readString(spec(t))).contains(source.text("VDI.get_uuid", cd));

    await().atMost(TwoHosts.LONG).until(() -> hosts.movesOf(t).stream().allMatch(s -> s.ended()));
    String moved = t.move();
    assertThat(source.text("VDI.get_uuid", cd)).as("is still here").isNotEmpty();
    assertThat(TestServer.texts(source.call("VDI.get_VBDs", cd))).isEmpty();
    String arrived = "";
    for (String vbd : TestServer.texts(destination.call("VM.get_VBDs", moved))) {
      if (destination.text("VBD.get_type", vbd).equals("CD")) {
        arrived = vbd;
      }
    }
    assertThat(destination.call("VBD.get_empty", arrived)).isEqualTo(TestServer.value(true));
    assertThat(destination.call("VBD.get_other_config", arrived))
        .isEqualTo(TestServer.value(Map.of()));
    destination.call("VM.hard_shutdown", moved);
  }

  private static java.nio.file.Path spec(Traveller t) {
    return hosts.here.directory.resolve("guests").resolve(t.uuid()).resolve("spec.json");
  }

  @Test
  @Tag("slow")
  void theCdOfAKeptVmIsInItsDriveAgain() throws Exception {
    Traveller t = traveller("kept");
    String cd = source.vdi(from, "a cd", 1 << 20);
    String drive = drive(t.vm());
    t.start();
    here.write(t.vm(), "kept");
    source.call("VBD.insert", drive, cd);
    String moved = t.move("keep-source", "true");
    await().atMost(TwoHosts.LONG).until(() -> !empty(drive));
    assertThat(List.of(source.text("VBD.get_VDI", drive))).containsExactly(cd);
    assertThat(here.inRecord(t.vm(), 4)).isEqualTo("kept");
    destination.call("VM.hard_shutdown", moved);
  }
}
