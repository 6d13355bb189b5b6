package io.xenferry.server.vm;

import io.xenferry.model.Network;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.VbdMode;
import io.xenferry.model.VbdType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Backend;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.GuestSpec.BootDevice;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.MachineOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * What the hypervisor is told of a VM, from its records. docs/qemu.md tells users which fields and
 * keys mean what.
 */
public final class GuestSpecs {
  /** In a network's other_config: {@code user}, or {@code tap:NAME}. */
  static final String BACKEND_KEY = "xenferry:backend";

  /**
   * In a VBD's other_config: by what the guest knows the disk again, whatever VDI it is by now.
   * Written when the VDI becomes another one in a move.
   */
  public static final String SERIAL_KEY = "xenferry:serial";

  private static final String CORES_KEY = "cores-per-socket";
  private static final String SECURE_BOOT_KEY = "secureboot";

  /** The published server's default. */
  private static final String BOOT_ORDER = "cd";

  private static final Path INTERFACES = Path.of("/sys/class/net");

  private GuestSpecs() {}

  /** Where the image of a disk is. */
  @FunctionalInterface
  public interface Images {
    Path of(Ref<VDI> vdi, boolean writable) throws XenApiException;
  }

  /**
   * One disk of a VM, or what lies in a CD drive: a VBD that is not empty.
   *
   * @param cd whether it is the latter
   */
  public record VmDisk(Ref<VBD> vbd, Ref<VDI> vdi, String device, boolean writable, boolean cd) {}

  /** The VM's disks in the order of their device numbers; empty drives are left out. */
  public static List<VmDisk> disks(Snapshot db, Ref<VM> vm) throws XenApiException {
    List<VmDisk> disks = new ArrayList<>();
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (!db.get(vbd, VBD.EMPTY) && !db.get(vbd, VBD.VDI).isNull()) {
        disks.add(
            new VmDisk(
                vbd,
                db.get(vbd, VBD.VDI),
                device(db, vbd),
                db.get(vbd, VBD.MODE) == VbdMode.RW,
                db.get(vbd, VBD.TYPE) == VbdType.CD));
      }
    }
    disks.sort(
        Comparator.comparingInt((VmDisk d) -> d.device().length()).thenComparing(VmDisk::device));
    return disks;
  }

  /** What firmware is to boot from comes first. */
  private static List<VmDisk> asTheyBoot(Snapshot db, List<VmDisk> disks) throws XenApiException {
    List<VmDisk> first = new ArrayList<>();
    List<VmDisk> then = new ArrayList<>();
    for (VmDisk disk : disks) {
      (db.get(disk.vbd(), VBD.BOOTABLE) ? first : then).add(disk);
    }
    first.addAll(then);
    return first;
  }

  /**
   * That of a VM which starts.
   *
   * @throws XenApiException INVALID_VALUE for a field that no machine can be built from,
   *     BOOTLOADER_FAILED when its kernel or firmware is not there
   */
  public static GuestSpec of(Snapshot db, Ref<VM> vm, Images images, BootFiles bootFiles)
      throws XenApiException {
    return of(db, vm, images, bootFiles, false, newMachine(db.get(vm, VM.PLATFORM)))
        .withClock(GuestClock.of(db, vm));
  }

  /**
   * The machine as it is recorded to run elsewhere now, to come here: what was unplugged is left
   * out.
   */
  public static GuestSpec running(Snapshot db, Ref<VM> vm, Images images, BootFiles bootFiles)
      throws XenApiException {
    String noted = db.get(vm, VM.OTHER_CONFIG).getOrDefault(VmRecords.MACHINE_KEY, "");
    return of(db, vm, images, bootFiles, true, machine(db, vm, BuiltMachine.parse(noted)));
  }

  /**
   * The machine of a VM that was suspended.
   *
   * @param built as it was then; empty where that is not known
   */
  static GuestSpec suspended(
      Snapshot db, Ref<VM> vm, Images images, BootFiles bootFiles, Optional<BuiltMachine> built)
      throws XenApiException {
    return of(db, vm, images, bootFiles, false, machine(db, vm, built));
  }

  /**
   * Looks for what of the VM's machine cannot be had, before anything is done for a start of it.
   * Others have told already whether one that goes on can be had.
   *
   * @throws XenApiException INVALID_VALUE
   */
  static void requireNewMachine(Snapshot db, Ref<VM> vm) throws XenApiException {
    BuiltMachine machine = newMachine(db.get(vm, VM.PLATFORM));
    vcpus(db, vm, machine.coresPerSocket(), false);
    GuestClock.of(db, vm);
    String demanded = db.get(vm, VM.PLATFORM).getOrDefault(SECURE_BOOT_KEY, "");
    boolean uefi =
        (!db.get(vm, VM.HVM_BOOT_POLICY).isEmpty() || db.get(vm, VM.PV_KERNEL).isEmpty())
            && "uefi".equals(db.get(vm, VM.HVM_BOOT_PARAMS).get("firmware"));
    if (uefi && (demanded.equals("true") || demanded.equals("1"))) {
      // Whoever demands that only signed code boots must not get less unawares.
      throw new XenApiException("INVALID_VALUE", "platform:" + SECURE_BOOT_KEY, demanded);
    }
  }

  /**
   * The machine of a VM that is to start by its platform map, wherever its record is.
   *
   * @param processors that it has at the most
   * @throws XenApiException INVALID_VALUE for what no machine can have, naming the key
   */
  public static GuestSpec.Machine newMachine(Map<String, String> platform, int processors)
      throws XenApiException {
    BuiltMachine machine = newMachine(platform);
    requireWholeSockets(processors, machine.coresPerSocket());
    GuestClock.of(platform);
    return machine.withAccelerator(accelerator(platform));
  }

  /** As the record says now. */
  private static BuiltMachine newMachine(Map<String, String> platform) throws XenApiException {
    try {
      GuestSpec.Machine machine = machine(platform).with(MachineOptions.of(platform));
      return new BuiltMachine(machine, cores(platform));
    } catch (HypervisorException e) {
      throw VmLifecycle.failed(e);
    }
  }

  private static BuiltMachine machine(Snapshot db, Ref<VM> vm, Optional<BuiltMachine> built)
      throws XenApiException {
    return built.isPresent()
        ? built.get()
        : new BuiltMachine(machine(db.get(vm, VM.PLATFORM)), cores(db.get(vm, VM.PLATFORM)));
  }

  private static GuestSpec of(
      Snapshot db,
      Ref<VM> vm,
      Images images,
      BootFiles bootFiles,
      boolean asItRuns,
      BuiltMachine machine)
      throws XenApiException {
    List<GuestSpec.Disk> disks = new ArrayList<>();
    List<GuestSpec.CdDrive> drives = new ArrayList<>();
    for (VmDisk disk : asTheyBoot(db, disks(db, vm))) {
      if (asItRuns && !db.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)) {
        continue;
      }
      UUID vdi = UUID.fromString(db.get(disk.vdi(), VDI.UUID));
      Path image = images.of(disk.vdi(), disk.writable());
      if (disk.cd()) {
        drives.add(
            new GuestSpec.CdDrive(
                drive(db, disk.vbd()),
                Optional.of(new GuestSpec.Medium(vdi, image, format(image)))));
      } else {
        disks.add(
            new GuestSpec.Disk(
                disk.device(),
                vdi,
                image,
                format(image),
                !disk.writable(),
                serial(db, disk.vbd())));
      }
    }
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (db.get(vbd, VBD.TYPE) == VbdType.CD
          && db.get(vbd, VBD.EMPTY)
          && (!asItRuns || db.get(vbd, VBD.CURRENTLY_ATTACHED))) {
        drives.add(new GuestSpec.CdDrive(drive(db, vbd), Optional.empty()));
      }
    }
    drives.sort(Comparator.comparing(GuestSpec.CdDrive::device));
    Map<String, String> platform = db.get(vm, VM.PLATFORM);
    GuestSpec spec =
        new GuestSpec(
                UUID.fromString(db.get(vm, VM.UUID)),
                db.get(vm, VM.NAME_LABEL),
                machine.withAccelerator(accelerator(platform)),
                memory(db, vm),
                vcpus(db, vm, machine.coresPerSocket(), asItRuns),
                boot(db, vm, bootFiles, asItRuns),
                disks,
                drives,
                nics(db, vm, asItRuns),
                platform)
            .withBiosStrings(db.get(vm, VM.BIOS_STRINGS));
    Optional<Vtpms.Tpm> tpm = Vtpms.of(db, vm);
    return tpm.isPresent() ? spec.withTpm(bootFiles.tpm(spec.vm(), tpm.get(), asItRuns)) : spec;
  }

  /**
   * By what the guest knows the disk of a VBD again: as the VBD says, else by the VDI.
   *
   * @throws XenApiException INVALID_VALUE for what cannot be a serial number
   */
  public static String serial(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    String serial = withSerial(db, vbd).getOrDefault(SERIAL_KEY, "");
    if (!GuestSpec.Disk.isSerial(serial)) {
      throw new XenApiException("INVALID_VALUE", "other_config:" + SERIAL_KEY, serial);
    }
    return serial;
  }

  /**
   * The other_config of a VBD whose disk is about to be another VDI, and the same to the guest.
   * What somebody has written there stays, whether it can be a serial number or not.
   */
  public static Map<String, String> withSerial(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    Map<String, String> config = new LinkedHashMap<>(db.get(vbd, VBD.OTHER_CONFIG));
    UUID vdi = UUID.fromString(db.get(db.get(vbd, VBD.VDI), VDI.UUID));
    config.putIfAbsent(SERIAL_KEY, GuestSpec.Disk.serialOf(vdi));
    return config;
  }

  /** By which the VM's processors are to be run here; empty for what works. */
  public static String accelerator(Map<String, String> platform) {
    return platform.getOrDefault(GuestSpec.Machine.ACCELERATOR_KEY, "");
  }

  private static GuestSpec.Machine machine(Map<String, String> platform) throws XenApiException {
    try {
      return GuestSpec.Machine.of(platform);
    } catch (IllegalArgumentException e) {
      throw new XenApiException("INVALID_VALUE", "platform", String.valueOf(e.getMessage()))
          .withCause(e);
    }
  }

  private static GuestSpec.Memory memory(Snapshot db, Ref<VM> vm) throws XenApiException {
    long maximum = db.get(vm, VM.MEMORY_STATIC_MAX);
    long dynamic = db.get(vm, VM.MEMORY_DYNAMIC_MAX);
    return new GuestSpec.Memory(maximum, dynamic > 0 ? Math.min(dynamic, maximum) : maximum);
  }

  private static GuestSpec.Vcpus vcpus(Snapshot db, Ref<VM> vm, int cores, boolean asItRuns)
      throws XenApiException {
    long wanted =
        asItRuns
            ? db.get(db.get(vm, VM.METRICS), VMMetrics.VCPUS_NUMBER)
            : db.get(vm, VM.VCPUS_AT_STARTUP);
    int present = Math.toIntExact(Math.max(1, wanted));
    int maximum = Math.toIntExact(Math.max(present, db.get(vm, VM.VCPUS_MAX)));
    requireWholeSockets(maximum, cores);
    return new GuestSpec.Vcpus(present, maximum, cores, VcpuParams.scheduling(db, vm));
  }

  private static void requireWholeSockets(int processors, int cores) throws XenApiException {
    if (processors % cores != 0) {
      throw new XenApiException(
          "INVALID_VALUE", "platform:" + CORES_KEY, cores + " does not divide " + processors);
    }
  }

  private static int cores(Map<String, String> platform) throws XenApiException {
    String text = platform.getOrDefault(CORES_KEY, "1");
    int cores = text.matches("[0-9]{1,4}") ? Integer.parseInt(text) : 0;
    if (cores < 1) {
      throw new XenApiException("INVALID_VALUE", "platform:" + CORES_KEY, text);
    }
    return cores;
  }

  /**
   * A VM with a boot policy starts with firmware. One without, as those that were paravirtualised,
   * starts with its kernel if it names one, and by BIOS if not: there is no boot loader here that
   * looks into a disk.
   */
  private static Boot boot(Snapshot db, Ref<VM> vm, BootFiles files, boolean arriving)
      throws XenApiException {
    Map<String, String> params = db.get(vm, VM.HVM_BOOT_PARAMS);
    String kernel = db.get(vm, VM.PV_KERNEL);
    if (db.get(vm, VM.HVM_BOOT_POLICY).isEmpty() && !kernel.isEmpty()) {
      String ramdisk = db.get(vm, VM.PV_RAMDISK);
      return new Boot.Kernel(
          files.file(vm.opaque(), kernel),
          ramdisk.isEmpty() ? Optional.empty() : Optional.of(files.file(vm.opaque(), ramdisk)),
          db.get(vm, VM.PV_ARGS));
    }
    List<BootDevice> order = order(params.getOrDefault("order", BOOT_ORDER));
    String firmware = params.getOrDefault("firmware", "bios");
    return switch (firmware) {
      case "bios" -> new Boot.Bios(order);
      case "uefi" ->
          files.uefi(UUID.fromString(db.get(vm, VM.UUID)), order, db.get(vm, VM.NVRAM), arriving);
      default -> throw new XenApiException("INVALID_VALUE", "HVM_boot_params:firmware", firmware);
    };
  }

  /** {@code c} disks, {@code d} CD drives, {@code n} network; what is not named is not tried. */
  private static List<BootDevice> order(String letters) throws XenApiException {
    List<BootDevice> order = new ArrayList<>();
    for (char letter : letters.toCharArray()) {
      BootDevice device =
          switch (letter) {
            case 'c' -> BootDevice.DISK;
            case 'd' -> BootDevice.CD;
            case 'n' -> BootDevice.NETWORK;
            default -> throw new XenApiException("INVALID_VALUE", "HVM_boot_params:order", letters);
          };
      if (!order.contains(device)) {
        order.add(device);
      }
    }
    return List.copyOf(order);
  }

  private static List<GuestSpec.Nic> nics(Snapshot db, Ref<VM> vm, boolean asItRuns)
      throws XenApiException {
    List<GuestSpec.Nic> nics = new ArrayList<>();
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      if (!asItRuns || db.get(vif, VIF.CURRENTLY_ATTACHED)) {
        nics.add(nic(db, vif));
      }
    }
    nics.sort(Comparator.comparing(GuestSpec.Nic::device));
    return nics;
  }

  /** What the hypervisor is told of one network card. */
  static GuestSpec.Nic nic(Snapshot db, Ref<VIF> vif) throws XenApiException {
    Ref<Network> network = db.get(vif, VIF.NETWORK);
    String bridge = db.get(network, Network.BRIDGE);
    String device = db.get(vif, VIF.DEVICE);
    if (!GuestSpec.Nic.isDevice(device)) {
      throw new XenApiException("INVALID_DEVICE", device);
    }
    return new GuestSpec.Nic(
        device,
        db.get(vif, VIF.MAC),
        bridge,
        backend(db.get(network, Network.OTHER_CONFIG).getOrDefault(BACKEND_KEY, ""), bridge));
  }

  /** As the network's other_config says; else its bridge, where this host has it. */
  private static Backend backend(String wanted, String bridge) throws XenApiException {
    if (wanted.equals("user")) {
      return new Backend.User();
    }
    if (wanted.startsWith("tap:")) {
      return new Backend.Tap(wanted.substring("tap:".length()));
    }
    if (!wanted.isEmpty()) {
      throw new XenApiException("INVALID_VALUE", "other_config:" + BACKEND_KEY, wanted);
    }
    boolean there =
        bridge.matches("[A-Za-z0-9_.-]{1,15}")
            && Files.isDirectory(INTERFACES.resolve(bridge).resolve("bridge"));
    return there ? new Backend.Bridge(bridge) : new Backend.Isolated();
  }

  /**
   * Where a CD drive is.
   *
   * @throws XenApiException INVALID_DEVICE where no machine has a place for one
   */
  static String drive(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    String device = device(db, vbd);
    try {
      if (GuestSpec.CdDrive.isSlot(GuestSpec.slot(device))) {
        return device;
      }
    } catch (IllegalArgumentException e) {
      throw new XenApiException("INVALID_DEVICE", device).withCause(e);
    }
    throw new XenApiException("INVALID_DEVICE", device);
  }

  private static String device(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    return device(db.get(vbd, VBD.DEVICE), db.get(vbd, VBD.USERDEVICE));
  }

  /** The SR driver names its files by their format. */
  public static String format(Path image) {
    return image.toString().endsWith(".qcow2") ? "qcow2" : "raw";
  }

  /** {@code xvda} for user device 0, and so on; a device that the record names is kept. */
  public static String device(String device, String userdevice) {
    if (!device.isEmpty()) {
      return device;
    }
    int number;
    try {
      number = Integer.parseInt(userdevice);
    } catch (NumberFormatException e) {
      return userdevice;
    }
    StringBuilder letters = new StringBuilder();
    for (int n = number; n >= 0; n = n / 26 - 1) {
      letters.insert(0, (char) ('a' + n % 26));
    }
    return "xvd" + letters;
  }
}
