package io.xenferry.qemu;

import io.xenferry.spi.MachineOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** How QEMU is told of a machine's options. */
final class QemuOptions {
  private static final String CONTROLLER = "qemu-xhci,id=usb";
  private static final String TABLET = "usb-tablet,id=tablet,bus=usb.0";

  private final MachineOptions options;

  QemuOptions(MachineOptions options) {
    this.options = options;
  }

  /** Further properties of the machine, each after a comma. */
  String machine() {
    return off(MachineOptions.ACPI, MachineOptions.HPET)
        .map(key -> "," + key + "=off")
        .collect(Collectors.joining());
  }

  /** Further features of the processor, each after a comma. */
  String processor() {
    return off(MachineOptions.NX, MachineOptions.PAE)
        .map(key -> ",-" + key)
        .collect(Collectors.joining());
  }

  private Stream<String> off(String... keys) {
    return Stream.of(keys).filter(options::isOff);
  }

  /** Properties of devices that are there anyway. */
  List<String> globals() {
    List<String> globals = new ArrayList<>();
    if (options.isOff(MachineOptions.ACPI)) {
      // Else slots tell by ACPI alone what comes and goes, which nobody reads.
      globals.add("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off");
    }
    if (options.isOff(MachineOptions.ACPI_S3)) {
      globals.add("ICH9-LPC.disable_s3=1");
    }
    if (options.isOff(MachineOptions.ACPI_S4)) {
      globals.add("ICH9-LPC.disable_s4=1");
    }
    return globals;
  }

  /** The display adapter. */
  String video() {
    return adapter() + ",id=vga," + MachineLayout.VGA + memory();
  }

  private String adapter() {
    return options.isCirrus() ? "cirrus-vga" : "VGA";
  }

  /** The usual memory is told only where it is not the card's own. */
  private String memory() {
    boolean told = options.isCirrus() || options.unusual().containsKey(MachineOptions.VIDEO_RAM);
    return told ? ",vgamem_mb=" + options.videoMemory() : "";
  }

  /** A pointer that goes where the console's does, if there is to be one. */
  List<String> pointer() {
    return options.isOn(MachineOptions.TABLET)
        ? List.of(CONTROLLER + "," + MachineLayout.USB, TABLET)
        : List.of();
  }

  /** Those devices that the usual machine does not have: a QEMU may be built without them. */
  List<String> devices() {
    List<String> devices = new ArrayList<>();
    if (options.isCirrus()) {
      devices.add(adapter() + memory());
    }
    if (options.unusual().containsKey(MachineOptions.NIC)) {
      devices.add(options.nic(""));
    }
    if (options.isOn(MachineOptions.TABLET)) {
      devices.addAll(List.of(CONTROLLER, TABLET));
    }
    return devices;
  }
}
