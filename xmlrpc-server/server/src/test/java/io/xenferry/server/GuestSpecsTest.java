package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Ref;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.server.vm.BootFiles;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Backend;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.GuestSpec.BootDevice;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a VM's record means for its machine. */
class GuestSpecsTest {
  private static TestServer server;
  private static TestServer.Calls root;

  @TempDir Path directory;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private GuestSpec spec(String vm) throws XenApiException {
    return GuestSpecs.of(
        server.server.context().db().snapshot(),
        new Ref<VM>(vm),
        (vdi, writable) -> directory.resolve("image"),
        new BootFiles(
            List.of(directory.resolve("missing"), directory.resolve("boot")),
            List.of(directory.resolve("firmware")),
            directory.resolve("variables"),
            directory.resolve("tpm")));
  }

  private Path file(String name) throws Exception {
    Path file = directory.resolve(name);
    Files.createDirectories(file.toAbsolutePath().getParent());
    return Files.writeString(file, name);
  }

  @Test
  void aVbdMaySayByWhatTheGuestKnowsTheDisk() throws Exception {
    String vm = root.vm("known", Map.of());
    String vdi = root.vdi(root.sr(server.directory.resolve("known")), "known", 1 << 20);
    root.vbd(vm, vdi, 0);
    String vbd = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    String derived = root.text("VDI.get_uuid", vdi).replace("-", "").substring(0, 20);
    assertThat(spec(vm).disks().getFirst().serial()).isEqualTo(derived);
    root.call("VBD.add_to_other_config", vbd, "xenferry:serial", "WD-0815");
    assertThat(spec(vm).disks().getFirst().serial()).isEqualTo("WD-0815");
    root.call("VBD.set_other_config", vbd, Map.of("xenferry:serial", "x,drive=y"));
    assertCode("INVALID_VALUE", () -> spec(vm));
  }

  @Test
  void theBootPolicyDecidesWhoBoots() throws Exception {
    String vm = root.vm("policy", Map.of());
    root.call("VM.set_HVM_boot_policy", vm, "BIOS order");
    root.call("VM.set_HVM_boot_params", vm, Map.of("order", "dcn"));
    Path kernel = file("boot/vmlinuz").toRealPath();
    Path ramdisk = file("boot/deep/initrd").toRealPath();
    root.call("VM.set_PV_kernel", vm, "vmlinuz");
    root.call("VM.set_PV_ramdisk", vm, ramdisk.toString());
    root.call("VM.set_PV_args", vm, "console=ttyS0 a,b");
    assertThat(root.text("VM.get_domain_type", vm)).isEqualTo("hvm");
    assertThat(spec(vm).boot())
        .isEqualTo(new Boot.Bios(List.of(BootDevice.CD, BootDevice.DISK, BootDevice.NETWORK)));
    root.call("VM.set_HVM_boot_policy", vm, "");
    assertThat(root.text("VM.get_domain_type", vm)).isEqualTo("pv");
    assertThat(spec(vm).boot())
        .isEqualTo(new Boot.Kernel(kernel, Optional.of(ramdisk), "console=ttyS0 a,b"));
    root.call("VM.set_domain_type", vm, "hvm");
    assertThat(root.text("VM.get_HVM_boot_policy", vm)).isEqualTo("BIOS order");
    assertThat(spec(vm).boot()).isInstanceOf(Boot.Bios.class);
    root.call("VM.set_domain_type", vm, "pv");
    assertThat(root.text("VM.get_HVM_boot_policy", vm)).isEmpty();
    assertCode("NOT_IMPLEMENTED", () -> root.call("VM.set_domain_type", vm, "pvh"));
    root.call("VM.set_PV_kernel", vm, "");
    assertThat(spec(vm).boot()).as("nothing else can start it").isInstanceOf(Boot.Bios.class);
  }

  @Test
  void aKernelIsOnlyTakenFromWhereTheAdministratorAllows() throws Exception {
    String vm = root.vm("kernel", Map.of());
    root.call("VM.set_HVM_boot_policy", vm, "");
    Path outside = file("secret");
    file("boot/vmlinuz");
    Files.createSymbolicLink(directory.resolve("boot/link"), outside);
    Files.createDirectories(directory.resolve("boot/directory"));
    for (String name :
        List.of(
            outside.toString(),
            "../secret",
            "boot/../../secret",
            "link",
            "directory",
            "no",
            directory + "/boot/../secret")) {
      root.call("VM.set_PV_kernel", vm, name);
      assertCode("BOOTLOADER_FAILED", () -> spec(vm));
    }
  }

  @Test
  void firmwareMayBeUefiWithVariablesOfTheVmsOwn() throws Exception {
    String vm = root.vm("uefi", Map.of());
    root.call("VM.set_HVM_boot_policy", vm, "BIOS order");
    root.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "uefi", "order", "c"));
    assertCode("BOOTLOADER_FAILED", () -> spec(vm));
    Path code = file("firmware/OVMF_CODE_4M.fd");
    file("firmware/OVMF_VARS_4M.fd");
    Path own = directory.resolve("variables").resolve(root.text("VM.get_uuid", vm) + ".fd");
    assertThat(spec(vm).boot()).isEqualTo(new Boot.Uefi(List.of(BootDevice.DISK), code, own));
    String changed = "firmware/ovmf_vars_4m.fd";
    Files.writeString(own, changed);
    spec(vm);
    assertThat(own).hasContent(changed);
    Files.writeString(own, "torn");
    spec(vm);
    assertThat(own).hasContent("firmware/OVMF_VARS_4M.fd");
    assertThat(own.resolveSibling(own.getFileName() + ".damaged")).hasContent("torn");
    root.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "openboot"));
    assertCode("INVALID_VALUE", () -> spec(vm));
    root.call("VM.set_HVM_boot_params", vm, Map.of("order", "x"));
    assertCode("INVALID_VALUE", () -> spec(vm));
  }

  @Test
  void bootableDisksAreTriedFirst() throws Exception {
    String vm = root.vm("two disks", Map.of());
    String sr = root.sr(directory.resolve("bootable"));
    for (int i = 0; i < 3; i++) {
      root.vbd(vm, root.vdi(sr, "disk", 1 << 20), i);
    }
    assertThat(devices(vm)).containsExactly("xvda", "xvdb", "xvdc");
    root.call("VBD.set_bootable", vbd(vm, "xvda"), false);
    root.call("VBD.set_bootable", vbd(vm, "xvdb"), false);
    assertThat(devices(vm)).containsExactly("xvdc", "xvda", "xvdb");
    root.call("VBD.set_bootable", vbd(vm, "xvdc"), false);
    assertThat(devices(vm)).containsExactly("xvda", "xvdb", "xvdc");
  }

  private List<String> devices(String vm) throws Exception {
    return spec(vm).disks().stream().map(GuestSpec.Disk::device).toList();
  }

  private static String vbd(String vm, String device) throws Exception {
    for (String vbd : TestServer.texts(root.call("VM.get_VBDs", vm))) {
      if (root.text("VBD.get_device", vbd).equals(device)) {
        return vbd;
      }
    }
    throw new IllegalArgumentException(device);
  }

  @Test
  void processorsAndThePlatformAreChecked() throws Exception {
    String vm = root.vm("cpus", Map.of("cores-per-socket", "2", "xenferry:serial-ports", "2"));
    root.call("VM.set_VCPUs_max", vm, 4L);
    GuestSpec spec = spec(vm);
    assertThat(spec.vcpus()).isEqualTo(new GuestSpec.Vcpus(1, 4, 2));
    assertThat(spec.machine().serialPorts()).isEqualTo(2);
    root.call("VM.set_platform", vm, Map.of("cores-per-socket", "3"));
    assertCode("INVALID_VALUE", () -> spec(vm));
    root.call("VM.set_platform", vm, Map.of("xenferry:layout", "one"));
    assertCode("INVALID_VALUE", () -> spec(vm));
  }

  @Test
  void aNetworkSaysWhatItsCardsAreConnectedTo() throws Exception {
    String vm = root.vm("nics", Map.of());
    String network = TestServer.texts(root.call("network.get_all")).getFirst();
    root.call(
        "VIF.create",
        RecordsTest.required("VIF", Map.of("VM", vm, "network", network, "device", "0")));
    assertThat(spec(vm).nics().getFirst().backend()).isEqualTo(new Backend.Isolated());
    root.call("network.add_to_other_config", network, "xenferry:backend", "tap:t0");
    assertThat(spec(vm).nics().getFirst().backend()).isEqualTo(new Backend.Tap("t0"));
    root.call("network.remove_from_other_config", network, "xenferry:backend");
    root.call("network.add_to_other_config", network, "xenferry:backend", "user");
    assertThat(spec(vm).nics().getFirst().backend()).isEqualTo(new Backend.User());
    root.call("network.remove_from_other_config", network, "xenferry:backend");
    root.call("network.add_to_other_config", network, "xenferry:backend", "vde");
    assertCode("INVALID_VALUE", () -> spec(vm));
    root.call("network.remove_from_other_config", network, "xenferry:backend");
  }

  /** As records may have it that a server before this one took in. */
  @Test
  void aCardBeyondTheMachinesPlacesIsNamed() throws Exception {
    String vm = root.vm("beyond", Map.of());
    String network = TestServer.texts(root.call("network.get_all")).getFirst();
    String vif =
        root.text(
            "VIF.create",
            RecordsTest.required("VIF", Map.of("VM", vm, "network", network, "device", "0")));
    server.server.context().db().change(tx -> tx.set(Ref.<VIF>of(vif), VIF.DEVICE, "8"));
    assertCode("INVALID_DEVICE", () -> spec(vm));
  }
}
