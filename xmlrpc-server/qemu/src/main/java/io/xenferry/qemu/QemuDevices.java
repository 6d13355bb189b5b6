package io.xenferry.qemu;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A guest's devices in QEMU's words, the same on the command line and over QMP: what is plugged
 * into a running guest here stands on the command line of its copy elsewhere, and the two must be
 * equal to the last property.
 */
final class QemuDevices {
  private QemuDevices() {}

  /** Arguments of {@code blockdev-add}. */
  static Map<String, Object> blockNode(GuestSpec.Disk disk) throws HypervisorException {
    if (!disk.format().equals("raw")) {
      throw new HypervisorException(
          Kind.REFUSED, disk.device() + ": format " + disk.format() + " is not supported");
    }
    Map<String, Object> file = new LinkedHashMap<>();
    file.put("driver", "file");
    file.put("filename", disk.file().toString());
    // Not "auto": the locks are how this driver sees that a guest has its disks.
    file.put("locking", "on");
    Map<String, Object> node = new LinkedHashMap<>();
    node.put("driver", "raw");
    node.put("node-name", GuestLauncher.nodeName(disk.device()));
    node.put("read-only", disk.readOnly());
    node.put("discard", "unmap");
    node.put("file", file);
    return node;
  }

  /** Arguments of {@code device_add}, without the bus. */
  static Map<String, Object> disk(GuestSpec.Disk disk) {
    Map<String, Object> device = new LinkedHashMap<>();
    device.put("driver", "virtio-blk-pci");
    device.put("id", disk.device());
    device.put("serial", disk.vdi().toString().replace("-", "").substring(0, 20));
    device.put("drive", GuestLauncher.nodeName(disk.device()));
    return device;
  }

  /** Arguments of {@code netdev_add}: a network that leads nowhere. */
  static Map<String, Object> netdev(GuestSpec.Nic nic) {
    Map<String, Object> netdev = new LinkedHashMap<>();
    netdev.put("type", "user");
    netdev.put("id", GuestLauncher.netdevName(nic.device()));
    netdev.put("restrict", true);
    return netdev;
  }

  /** Arguments of {@code device_add}, without the bus. */
  static Map<String, Object> nic(GuestSpec.Nic nic) {
    Map<String, Object> device = new LinkedHashMap<>();
    device.put("driver", "virtio-net-pci");
    device.put("id", GuestLauncher.nicName(nic.device()));
    device.put("netdev", GuestLauncher.netdevName(nic.device()));
    device.put("mac", nic.mac());
    return device;
  }
}
