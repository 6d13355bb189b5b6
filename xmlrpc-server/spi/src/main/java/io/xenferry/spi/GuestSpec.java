package io.xenferry.spi;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * What a hypervisor needs to build a guest. The same spec gives the same machine on every host:
 * nothing of it that the guest can see is left to the hypervisor's choice.
 *
 * @param vm the VM's uuid, by which the guest is found again
 * @param name for people: process titles, logs
 * @param disks in the order in which firmware tries them
 * @param drives CD drives, with a medium or empty, in the order of their device numbers
 * @param platform the VM's platform map, for what has no field of its own
 * @param tpm the directory in which its TPM, if it has one, keeps its state; nobody else writes to
 *     it while the guest is there
 * @param biosStrings what the machine's SMBIOS tells the guest, by {@link #BIOS_STRINGS}; what is
 *     not there is the hypervisor's own
 * @param clock by how much the machine's clock is ahead of the host's UTC when its process begins,
 *     in whole seconds; zero for a guest that comes with its memory, whose clock comes with that
 */
public record GuestSpec(
    UUID vm,
    String name,
    Machine machine,
    Memory memory,
    Vcpus vcpus,
    Boot boot,
    List<Disk> disks,
    List<CdDrive> drives,
    List<Nic> nics,
    Map<String, String> platform,
    Optional<Path> tpm,
    Map<String, String> biosStrings,
    Duration clock) {

  /** By the XenAPI's keys what can be told of a machine. */
  public static final Set<String> BIOS_STRINGS =
      Set.of(
          "bios-vendor",
          "bios-version",
          "system-manufacturer",
          "system-product-name",
          "system-version",
          "system-serial-number",
          "baseboard-manufacturer",
          "baseboard-product-name",
          "baseboard-version",
          "baseboard-serial-number",
          "baseboard-asset-tag",
          "baseboard-location-in-chassis",
          "enclosure-asset-tag");

  /** Of {@link #slot}: XenServer's limit for guests that it fully virtualises is the same. */
  public static final int DISK_SLOTS = 16;

  /** VIFs of a guest, numbered from 0. */
  public static final int NIC_SLOTS = 8;

  /** CD drives that a machine can have, and the first device numbers. */
  public static final int CD_SLOTS = 6;

  /** The same guest with other devices. */
  public GuestSpec with(List<Disk> disks, List<CdDrive> drives, List<Nic> nics) {
    return with(
        memory,
        vcpus,
        List.copyOf(disks),
        List.copyOf(drives),
        List.copyOf(nics),
        tpm,
        biosStrings);
  }

  /** The same with other processors and another share of its memory. */
  public GuestSpec with(Vcpus otherVcpus, Memory otherMemory) {
    return with(otherMemory, otherVcpus, disks, drives, nics, tpm, biosStrings);
  }

  /** The same on another machine. */
  public GuestSpec with(Machine other) {
    return new GuestSpec(
        vm,
        name,
        other,
        memory,
        vcpus,
        boot,
        disks,
        drives,
        nics,
        platform,
        tpm,
        biosStrings,
        clock);
  }

  /** The same whose clock begins otherwise. */
  public GuestSpec withClock(Duration ahead) {
    return new GuestSpec(
        vm,
        name,
        machine,
        memory,
        vcpus,
        boot,
        disks,
        drives,
        nics,
        platform,
        tpm,
        biosStrings,
        ahead);
  }

  /** The same with a TPM. */
  public GuestSpec withTpm(Path directory) {
    return with(memory, vcpus, disks, drives, nics, Optional.of(directory), biosStrings);
  }

  /** The same of whose machine that is told. */
  public GuestSpec withBiosStrings(Map<String, String> strings) {
    return with(memory, vcpus, disks, drives, nics, tpm, Map.copyOf(strings));
  }

  private GuestSpec with(
      Memory memory,
      Vcpus vcpus,
      List<Disk> disks,
      List<CdDrive> drives,
      List<Nic> nics,
      Optional<Path> tpm,
      Map<String, String> biosStrings) {
    return new GuestSpec(
        vm,
        name,
        machine,
        memory,
        vcpus,
        boot,
        disks,
        drives,
        nics,
        platform,
        tpm,
        biosStrings,
        clock);
  }

  /** A guest that boots from its first disk by BIOS, all of its memory and processors present. */
  public GuestSpec(
      UUID vm,
      String name,
      long memoryBytes,
      int vcpus,
      List<Disk> disks,
      List<Nic> nics,
      Map<String, String> platform) {
    this(
        vm,
        name,
        Machine.of(platform),
        new Memory(memoryBytes, memoryBytes),
        new Vcpus(vcpus, vcpus, 1),
        new Boot.Bios(List.of(BootDevice.DISK)),
        disks,
        List.of(),
        nics,
        platform,
        Optional.empty(),
        Map.of(),
        Duration.ZERO);
  }

  /** A guest without a TPM, of whose machine nothing particular is told. */
  public GuestSpec(
      UUID vm,
      String name,
      Machine machine,
      Memory memory,
      Vcpus vcpus,
      Boot boot,
      List<Disk> disks,
      List<CdDrive> drives,
      List<Nic> nics,
      Map<String, String> platform) {
    this(
        vm,
        name,
        machine,
        memory,
        vcpus,
        boot,
        disks,
        drives,
        nics,
        platform,
        Optional.empty(),
        Map.of(),
        Duration.ZERO);
  }

  /**
   * What of the machine is decided when the VM first starts, and kept with the VM from then on; and
   * what each start decides anew.
   *
   * @param type a versioned machine type; empty for the hypervisor's own choice
   * @param cpu a processor model with its features; empty likewise
   * @param layout number of the scheme by which devices have their addresses
   * @param accelerator empty for what works on this host; the guest does not see it
   * @param serialPorts 1 to 4; the first is the console
   * @param options of its last start
   */
  public record Machine(
      String type,
      String cpu,
      int layout,
      String accelerator,
      int serialPorts,
      MachineOptions options) {
    public static final String TYPE_KEY = "xenferry:machine";
    public static final String CPU_KEY = "xenferry:cpu";
    public static final String LAYOUT_KEY = "xenferry:layout";
    public static final String ACCELERATOR_KEY = "xenferry:accel";
    public static final String SERIAL_PORTS_KEY = "xenferry:serial-ports";

    /**
     * From a VM's platform map, with the usual options.
     *
     * @throws IllegalArgumentException when a number is none, naming the key
     */
    public static Machine of(Map<String, String> platform) {
      return new Machine(
          platform.getOrDefault(TYPE_KEY, ""),
          platform.getOrDefault(CPU_KEY, ""),
          number(platform, LAYOUT_KEY),
          platform.getOrDefault(ACCELERATOR_KEY, ""),
          number(platform, SERIAL_PORTS_KEY),
          MachineOptions.USUAL);
    }

    /** The same with other options. */
    public Machine with(MachineOptions others) {
      return new Machine(type, cpu, layout, accelerator, serialPorts, others);
    }

    private static int number(Map<String, String> platform, String key) {
      String text = platform.getOrDefault(key, "1");
      try {
        return Integer.parseInt(text);
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException("platform:" + key + " is no number: " + text, e);
      }
    }
  }

  /**
   * Bytes.
   *
   * @param maximum what the machine has
   * @param target what the guest shall use of it, by the balloon
   */
  public record Memory(long maximum, long target) {}

  /**
   * @param present 1 or more
   * @param maximum up to which processors can be added while the guest runs
   * @param coresPerSocket a divisor of the maximum
   * @param scheduling how they share this host; the guest does not see it
   */
  public record Vcpus(int present, int maximum, int coresPerSocket, Scheduling scheduling) {
    /** Processors of which nothing particular is said. */
    public Vcpus(int present, int maximum, int coresPerSocket) {
      this(present, maximum, coresPerSocket, Scheduling.FREE);
    }

    /** So many of the same. */
    public Vcpus with(int nowPresent) {
      return new Vcpus(nowPresent, maximum, coresPerSocket, scheduling);
    }

    /** The same, which share this host in that way. */
    public Vcpus with(Scheduling other) {
      return new Vcpus(present, maximum, coresPerSocket, other);
    }
  }

  /** What the firmware tries. */
  public enum BootDevice {
    DISK,
    CD,
    NETWORK
  }

  /** How the guest begins. */
  public sealed interface Boot {
    record Bios(List<BootDevice> order) implements Boot {}

    /**
     * @param code the firmware itself
     * @param variables the VM's own file of variables, as large as the firmware wants it; there
     */
    record Uefi(List<BootDevice> order, Path code, Path variables) implements Boot {}

    /** The kernel is loaded from this host's files. */
    record Kernel(Path kernel, Optional<Path> ramdisk, String arguments) implements Boot {}
  }

  /**
   * @param device the VBD's device, {@code xvda}; unique in the guest
   * @param vdi uuid of the VDI behind it
   * @param file image file
   * @param format {@code raw} or {@code qcow2}
   * @param serial by which the guest knows the disk again
   */
  public record Disk(
      String device, UUID vdi, Path file, String format, boolean readOnly, String serial) {

    public Disk {
      if (!isSerial(serial)) {
        throw new IllegalArgumentException("no serial number of a disk: " + serial);
      }
    }

    /** One that the guest knows by its VDI. */
    public Disk(String device, UUID vdi, Path file, String format, boolean readOnly) {
      this(device, vdi, file, format, readOnly, serialOf(vdi));
    }

    /** Whether a text can be a serial number: 20 bytes is what virtio has for it. */
    public static boolean isSerial(String text) {
      return text.matches("[A-Za-z0-9._-]{1,20}");
    }

    /** The serial number of a disk that has none of its own. */
    public static String serialOf(UUID vdi) {
      return vdi.toString().replace("-", "").substring(0, 20);
    }

    /** The same disk with another image of its format. */
    public Disk on(Path image) {
      return new Disk(device, vdi, image, format, readOnly, serial);
    }

    /** Of {@link #DISK_SLOTS}. */
    public int slot() {
      return GuestSpec.slot(device);
    }
  }

  /**
   * @param device the VBD's device; unique among disks and drives
   */
  public record CdDrive(String device, Optional<Medium> medium) {

    /** Whether a machine has a place for a CD drive there: from 0 to below {@link #CD_SLOTS}. */
    public static boolean isSlot(int slot) {
      return slot >= 0 && slot < CD_SLOTS;
    }
  }

  /** What lies in a CD drive; read only. */
  public record Medium(UUID vdi, Path file, String format) {}

  /**
   * @param device the VIF's device number
   * @param bridge name of the network's bridge on this host, whether there is one or not
   */
  public record Nic(String device, String mac, String bridge, Backend backend) {
    /** Connected to nothing. */
    public Nic(String device, String mac, String bridge) {
      this(device, mac, bridge, new Backend.Isolated());
    }

    /** Whether a machine has a place of that number: from 0 to below {@link #NIC_SLOTS}. */
    public static boolean isDevice(String device) {
      return device.matches("[0-9]") && Integer.parseInt(device) < NIC_SLOTS;
    }
  }

  /** What a network card is connected to on this host; the guest does not see it. */
  public sealed interface Backend {
    /** A network of its own that leads nowhere. */
    record Isolated() implements Backend {}

    /** A network of its own behind address translation by the hypervisor's process. */
    record User() implements Backend {}

    /** An interface that somebody has made. */
    record Tap(String name) implements Backend {}

    /** A bridge of this host; the hypervisor makes the interface and removes it. */
    record Bridge(String name) implements Backend {}
  }

  /**
   * The number of a device by its name: 0 for {@code xvda}, {@code sda}, {@code hda}.
   *
   * @throws IllegalArgumentException when the name is none of these, or the number is not below
   *     {@link #DISK_SLOTS}
   */
  public static int slot(String device) {
    int prefix = device.startsWith("xvd") ? 3 : device.matches("[sh]d.*") ? 2 : device.length();
    if (device.length() == prefix + 1) {
      int slot = device.charAt(prefix) - 'a';
      if (slot >= 0 && slot < DISK_SLOTS) {
        return slot;
      }
    }
    throw new IllegalArgumentException(
        "device " + device + " is none of the " + DISK_SLOTS + " that a guest can have");
  }
}
