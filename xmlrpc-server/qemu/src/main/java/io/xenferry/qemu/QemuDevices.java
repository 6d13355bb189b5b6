package io.xenferry.qemu;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.MachineOptions;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A guest's devices in QEMU's words, the same on the command line and over QMP: what is plugged
 * into a running guest here stands on the command line of its copy elsewhere, and the two must be
 * equal to the last property.
 */
final class QemuDevices {
  private static final Pattern MAC = Pattern.compile("([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}");

  /** Of each disk; more than a guest has processors do no harm. */
  private static final int QUEUES = 4;

  private QemuDevices() {}

  /** As the value of an option; nothing in it may hold a comma. */
  static String option(Map<String, Object> arguments) {
    return arguments.entrySet().stream()
        .map(e ->
            e.getKey().equals("driver") || e.getKey().equals("type")
                ? "" + e.getValue()
                : e.getKey() + "=" + word(e.getValue()))
        .collect(Collectors.joining(","));
  }

  private static Object word(Object value) {
    return value instanceof Boolean on ? (on ? "on" : "off") : value;
  }

  /** The object that every qcow2 disk's topmost node names; it throttles nothing. */
  static final String FILTER_GROUP = "disks";

  /**
   * Arguments of {@code blockdev-add}. A qcow2 disk has a filter on top, which keeps the disk's
   * name while images come and go beneath it.
   */
  static Map<String, Object> blockNode(GuestSpec.Disk disk) throws HypervisorException {
    return blockNode(disk.device(), disk.file(), disk.format(), disk.readOnly());
  }

  static Map<String, Object> blockNode(String device, GuestSpec.Medium medium)
      throws HypervisorException {
    return blockNode(device, medium.file(), medium.format(), true);
  }

  private static Map<String, Object> blockNode(
      String device, Path image, String format, boolean readOnly) throws HypervisorException {
    Map<String, Object> layer = layer(device, image, format, readOnly);
    if (format.equals("qcow2")) {
      return topNode(device, "throttle", readOnly, layer);
    }
    layer.put("node-name", GuestLauncher.nodeName(device));
    return layer;
  }

  private static Map<String, Object> layer(
      String device, Path image, String format, boolean readOnly) throws HypervisorException {
    if (!format.equals("raw") && !format.equals("qcow2")) {
      throw new HypervisorException(
          Kind.REFUSED, device + ": format " + format + " is not supported");
    }
    Map<String, Object> file = new LinkedHashMap<>();
    file.put("driver", "file");
    file.put("filename", image.toString());
    // Not "auto": the locks are how this driver sees that a guest has its disks.
    file.put("locking", "on");
    Map<String, Object> layer = new LinkedHashMap<>();
    layer.put("driver", format);
    layer.put("read-only", readOnly);
    layer.put("discard", "unmap");
    layer.put("file", file);
    return layer;
  }

  /**
   * Arguments of {@code blockdev-add} for an image that is to lie beneath a disk's topmost node.
   */
  static Map<String, Object> layer(String nodeName, GuestSpec.Disk disk)
      throws HypervisorException {
    Map<String, Object> layer = layer(disk.device(), disk.file(), disk.format(), disk.readOnly());
    layer.put("node-name", nodeName);
    return layer;
  }

  /**
   * A disk's topmost node, with everything that {@code blockdev-reopen} wants to hear again.
   *
   * @param driver the node's: {@code raw} or {@code throttle}
   * @param below the image's arguments, or its node's name
   */
  static Map<String, Object> topNode(String device, String driver, boolean readOnly, Object below) {
    Map<String, Object> node = new LinkedHashMap<>();
    node.put("driver", driver);
    if (driver.equals("throttle")) {
      node.put("throttle-group", FILTER_GROUP);
    }
    node.put("read-only", readOnly);
    node.put("discard", "unmap");
    node.put("file", below);
    node.put("node-name", GuestLauncher.nodeName(device));
    return node;
  }

  /** Arguments of {@code device_add}. */
  static Map<String, Object> disk(GuestSpec.Disk disk) throws HypervisorException {
    Map<String, Object> device = new LinkedHashMap<>();
    device.put("driver", "virtio-blk-pci");
    device.put("id", disk.device());
    device.put("bus", MachineLayout.diskPort(disk.device()));
    device.put("serial", disk.serial());
    // QEMU would take the number of processors at the time, and a copy of a guest that has been
    // given more since would differ.
    device.put("num-queues", QUEUES);
    device.put("drive", GuestLauncher.nodeName(disk.device()));
    return device;
  }

  /** Arguments of {@code device_add} for a CD drive, which only the command line can take. */
  static Map<String, Object> drive(GuestSpec.CdDrive drive) throws HypervisorException {
    Map<String, Object> device = new LinkedHashMap<>();
    device.put("driver", "ide-cd");
    device.put("id", drive.device());
    device.put("bus", MachineLayout.sataBus(drive.device()));
    if (drive.medium().isPresent()) {
      device.put("drive", GuestLauncher.nodeName(drive.device()));
    }
    return device;
  }

  /** Arguments of {@code device_add}. */
  static Map<String, Object> nic(GuestSpec.Nic nic, MachineOptions options)
      throws HypervisorException {
    if (!MAC.matcher(nic.mac()).matches()) {
      throw new HypervisorException(Kind.REFUSED, nic.mac() + " is no MAC address");
    }
    Map<String, Object> device = new LinkedHashMap<>();
    device.put("driver", options.nic("virtio-net-pci"));
    device.put("id", GuestLauncher.nicName(nic.device()));
    device.put("bus", MachineLayout.nicPort(nic.device()));
    device.put("netdev", GuestLauncher.netdevName(nic.device()));
    device.put("mac", nic.mac());
    return device;
  }
}
