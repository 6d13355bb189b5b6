package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Devices of running VMs, with simulated guests. */
class PlugTest {
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

  private static String vm(String name, Map<String, String> platform) throws XenApiException {
    String vm = root.vm(name, platform);
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    return vm;
  }

  private static boolean attached(String type, String device) throws XenApiException {
    return ((Value.Bool) root.call(type + ".get_currently_attached", device)).value();
  }

  private static List<String> allowed(String type, String device) throws XenApiException {
    return TestServer.texts(root.call(type + ".get_allowed_operations", device));
  }

  private static String lastVbd(String vm) throws XenApiException {
    for (String vbd : TestServer.texts(root.call("VM.get_VBDs", vm))) {
      if (!root.text("VBD.get_userdevice", vbd).equals("0")) {
        return vbd;
      }
    }
    throw new AssertionError("the VM has one VBD");
  }

  private static Path spec(String vm) throws XenApiException {
    return server
        .directory
        .resolve("guests")
        .resolve(root.text("VM.get_uuid", vm))
        .resolve("spec.json");
  }

  @Test
  void aDiskIsPluggedAndUnplugged() throws Exception {
    String vm = vm("plug", Map.of());
    String vdi = root.vdi(sr, "second", 8 << 20);
    root.call("VM.start", vm, false, false);
    root.vbd(vm, vdi, 1);
    String vbd = lastVbd(vm);
    assertThat(attached("VBD", vbd)).isFalse();
    assertThat(allowed("VBD", vbd)).contains("plug").doesNotContain("unplug");
    assertCode("DEVICE_ALREADY_DETACHED", () -> root.call("VBD.unplug", vbd));

    root.call("VBD.assert_attachable", vbd);
    root.call("VDI.set_read_only", vdi, true);
    assertCode("VDI_READONLY", () -> root.call("VBD.assert_attachable", vbd));
    assertCode("VDI_READONLY", () -> root.call("VBD.plug", vbd));
    root.call("VDI.set_read_only", vdi, false);
    root.call("VBD.plug", vbd);
    assertThat(attached("VBD", vbd)).isTrue();
    assertThat(root.text("VBD.get_device", vbd)).isEqualTo("xvdb");
    assertThat(allowed("VBD", vbd)).contains("unplug", "unplug_force").doesNotContain("plug");
    assertThat(Files.readString(spec(vm))).contains("xvdb");
    assertCode("DEVICE_ALREADY_ATTACHED", () -> root.call("VBD.plug", vbd));
    assertCode("VDI_IN_USE", () -> root.call("VDI.destroy", vdi));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VBD.destroy", vbd));

    root.call("VBD.unplug", vbd);
    assertThat(attached("VBD", vbd)).isFalse();
    assertThat(Files.readString(spec(vm))).doesNotContain("xvdb");
    root.call("VBD.plug", vbd);
    root.call("VM.pause", vm);
    assertThat(allowed("VBD", vbd)).isEmpty();
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VBD.unplug", vbd));
    root.call("VM.unpause", vm);
    root.call("VBD.unplug_force", vbd);
    root.call("VBD.destroy", vbd);
    root.call("VDI.destroy", vdi);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void onlyARunningVmIsPluggedInto() throws Exception {
    String vm = vm("halted", Map.of());
    String vbd = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VBD.plug", vbd));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VBD.unplug", vbd));
    assertThat(allowed("VBD", vbd)).containsExactly("attach");
  }

  @Test
  void aDiskOfAnotherVmIsNotPlugged() throws Exception {
    String owner = vm("owner", Map.of());
    String thief = vm("thief", Map.of());
    root.call("VM.start", owner, false, false);
    root.call("VM.start", thief, false, false);
    String vdi =
        root.text("VBD.get_VDI", TestServer.texts(root.call("VM.get_VBDs", owner)).getFirst());
    root.vbd(thief, vdi, 1);
    String vbd = lastVbd(thief);
    assertCode("VDI_IN_USE", () -> root.call("VBD.plug", vbd));
    assertThat(attached("VBD", vbd)).isFalse();
    root.call("VM.hard_shutdown", owner);
    root.call("VBD.plug", vbd);
    assertCode("VDI_IN_USE", () -> root.call("VM.start", owner, false, false));
    root.call("VM.hard_shutdown", thief);
    root.call("VM.start", owner, false, false);
    root.call("VM.hard_shutdown", owner);
  }

  @Test
  void whatIsListedOfADiskIsWhatIsAccepted() throws Exception {
    String vm = vm("listed", Map.of());
    String vdi = root.text("VBD.get_VDI", vbdAt(vm, "0"));
    assertThat(allowed("VDI", vdi)).contains("snapshot", "clone", "copy", "resize", "destroy");
    assertThat(allowed("SR", sr)).contains("scan", "update", "vdi_create").doesNotContain("plug");
    root.call("VM.start", vm, false, false);
    assertThat(allowed("VDI", vdi))
        .contains("mirror", "resize_online")
        .doesNotContain("snapshot", "clone", "copy", "resize", "destroy", "forget");
    assertThat(allowed("SR", sr)).contains("scan").doesNotContain("unplug", "destroy", "forget");
    assertCode("VDI_IN_USE", () -> root.call("VDI.destroy", vdi));
    assertCode("VDI_IN_USE", () -> root.call("VDI.clone", vdi, Map.of()));
    root.call("VM.hard_shutdown", vm);
    assertThat(allowed("VDI", vdi)).contains("clone", "destroy", "forget");
    root.call("VDI.destroy", vdi);
  }

  private static String vbdAt(String vm, String userdevice) throws XenApiException {
    for (String vbd : TestServer.texts(root.call("VM.get_VBDs", vm))) {
      if (root.text("VBD.get_userdevice", vbd).equals(userdevice)) {
        return vbd;
      }
    }
    throw new AssertionError("the VM has no disk " + userdevice);
  }

  @Test
  void aDiskThatTheGuestDoesNotLetGoStays() throws Exception {
    String vm = vm("stubborn", Map.of("xenferry:fault", "refuse-unplug"));
    String vbd = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    root.call("VM.start", vm, false, false);
    root.call("VBD.set_unpluggable", vbd, false);
    assertCode("VBD_NOT_UNPLUGGABLE", () -> root.call("VBD.unplug", vbd));
    assertThat(allowed("VBD", vbd)).doesNotContain("unplug", "unplug_force");
    root.call("VBD.set_unpluggable", vbd, true);
    assertCode("DEVICE_DETACH_REJECTED", () -> root.call("VBD.unplug", vbd));
    assertThat(attached("VBD", vbd)).isTrue();
    assertThat(allowed("VBD", vbd)).contains("unplug");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aNetworkCardIsPluggedAndUnplugged() throws Exception {
    String vm = vm("networked", Map.of());
    String vif =
        root.text(
            "VIF.create",
            RecordsTest.required(
                "VIF", Map.of("VM", vm, "network", root.only("network"), "device", "0")));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VIF.plug", vif));
    root.call("VM.start", vm, false, false);
    assertThat(attached("VIF", vif)).isTrue();
    assertThat(allowed("VIF", vif)).containsExactly("unplug");
    assertCode("DEVICE_ALREADY_ATTACHED", () -> root.call("VIF.plug", vif));
    root.call("VIF.unplug", vif);
    assertThat(attached("VIF", vif)).isFalse();
    assertThat(allowed("VIF", vif)).containsExactly("attach", "plug");
    assertCode("DEVICE_ALREADY_DETACHED", () -> root.call("VIF.unplug", vif));
    root.call("VIF.plug", vif);
    root.call("VIF.unplug_force", vif);
    root.call("VIF.destroy", vif);
    root.call("VM.hard_shutdown", vm);
  }

  private static String drive(String vm, String userdevice) throws XenApiException {
    return root.text(
        "VBD.create",
        RecordsTest.required(
            "VBD",
            Map.of(
                "VM",
                vm,
                "userdevice",
                userdevice,
                "mode",
                "RO",
                "type",
                "CD",
                "empty",
                true,
                "bootable",
                false)));
  }

  private static String process(String vm) throws Exception {
    return Files.readString(spec(vm).resolveSibling("pid"));
  }

  /** No machine gets a drive while it is there: so it has to become another one. */
  @ParameterizedTest
  @ValueSource(strings = {"VM.hard_reboot", "VM.clean_reboot"})
  void aDriveThatIsMadeWhileTheGuestRunsIsThereAfterAReboot(String reboot) throws Exception {
    String vm = vm("late drive by " + reboot, Map.of());
    root.call("VM.start", vm, false, false);
    String drive = drive(vm, "3");
    assertThat(
            assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VBD.plug", drive))
                .params()
                .getFirst())
        .contains("rebooted");
    String machine = process(vm);

    root.call(reboot, vm);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    assertThat(attached("VBD", drive)).isTrue();
    assertThat(process(vm)).isNotEqualTo(machine);
    String cd = root.vdi(sr, "a cd for " + reboot, 1 << 20);
    root.call("VBD.insert", drive, cd);
    assertThat(Files.readString(spec(vm))).contains(root.text("VDI.get_uuid", cd));

    // With all of its drives it stays the machine that it is.
    String again = process(vm);
    root.call(reboot, vm);
    assertThat(process(vm)).isEqualTo(again);
    assertThat(root.text("VBD.get_VDI", drive)).isEqualTo(cd);
    root.call("VM.hard_shutdown", vm);
  }

  /** Whatever stands against the new machine must not end the one that there is. */
  @Test
  void aMachineThatCannotBeMadeDoesNotEndTheOneThatRuns() throws Exception {
    String vm = vm("late drive, lost cd", Map.of());
    root.call("VM.start", vm, false, false);
    assertCode("INVALID_DEVICE", () -> drive(vm, "6"));
    String drive = drive(vm, "5");
    Path isos = Files.createDirectory(server.directory.resolve("lost isos"));
    Files.write(isos.resolve("lost.iso"), new byte[4096]);
    String iso =
        root.text(
            "SR.create",
            root.only("host"),
            Map.of("location", isos.toString()),
            0,
            "isos",
            "",
            "iso",
            "",
            false,
            Map.of());
    String cd = TestServer.texts(root.call("SR.get_VDIs", iso)).getFirst();
    root.call("VBD.destroy", drive);
    String full =
        root.text(
            "VBD.create",
            RecordsTest.required(
                "VBD",
                Map.of(
                    "VM",
                    vm,
                    "VDI",
                    cd,
                    "userdevice",
                    "5",
                    "mode",
                    "RO",
                    "type",
                    "CD",
                    "bootable",
                    false)));
    Files.delete(isos.resolve("lost.iso"));
    String machine = process(vm);
    assertCode("VDI_MISSING", () -> root.call("VM.hard_reboot", vm));
    assertThat(process(vm)).isEqualTo(machine);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    root.call("VBD.destroy", full);
    root.call("VM.hard_reboot", vm);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aPausedGuestThatIsRebootedForADriveRuns() throws Exception {
    String vm = vm("paused, late drive", Map.of());
    root.call("VM.start", vm, true, false);
    String drive = drive(vm, "3");
    root.call("VM.hard_reboot", vm);
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    assertThat(attached("VBD", drive)).isTrue();
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aCdIsInsertedAndEjected() throws Exception {
    String vm = vm("cd", Map.of());
    String cd = root.vdi(sr, "a cd", 1 << 20);
    String drive = drive(vm, "3");
    String disk = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    assertCode("VBD_NOT_REMOVABLE_MEDIA", () -> root.call("VBD.eject", disk));
    assertCode("VBD_IS_EMPTY", () -> root.call("VBD.eject", drive));
    root.call("VBD.insert", drive, cd);
    root.call("VBD.eject", drive);

    root.call("VM.start", vm, false, false);
    assertThat(attached("VBD", drive)).isTrue();
    assertThat(allowed("VBD", drive)).containsExactly("insert");
    root.call("VBD.insert", drive, cd);
    assertThat(root.text("VBD.get_VDI", drive)).isEqualTo(cd);
    assertThat(allowed("VBD", drive)).containsExactly("eject");
    assertThat(Files.readString(spec(vm))).contains(root.text("VDI.get_uuid", cd));
    assertCode("VBD_NOT_EMPTY", () -> root.call("VBD.insert", drive, cd));
    assertCode("VBD_NOT_UNPLUGGABLE", () -> root.call("VBD.unplug", drive));
    root.call("VBD.eject", drive);
    assertThat(Files.readString(spec(vm))).doesNotContain(root.text("VDI.get_uuid", cd));
    root.call("VDI.destroy", cd);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aGuestThatShutsItselfDownIsHalted() throws Exception {
    String vm = vm("ends", Map.of("xenferry:fault", "halt"));
    root.call("VM.start", vm, false, false);
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> root.text("VM.get_power_state", vm).equals("Halted"));
    assertThat(attached("VBD", TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst()))
        .isFalse();
  }
}
