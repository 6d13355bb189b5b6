package io.xenferry.qemu;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.qemu.access.GuestUser;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.GuestSpec.BootDevice;
import io.xenferry.spi.GuestSpec.Machine;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * Starts {@code qemu-system-x86_64} (tried with 7.2) as a q35 machine whose devices are where
 * {@link MachineLayout} says. Disks are virtio, network cards mostly, CD drives SATA.
 */
public final class QemuLauncher implements GuestLauncher {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static final Pattern TYPE = Pattern.compile("(pc-)?q35(-\\d+(\\.\\d+)+)?");
  private static final Pattern CPU =
      Pattern.compile("[A-Za-z0-9_.-]+(,[+-]?[A-Za-z0-9_.-]+(=(on|off))?)*");
  private static final Pattern ACCELERATORS = Pattern.compile("[a-z]+(:[a-z]+)*");

  /** What QEMU says of what has the right form, and which it does not know. */
  private static final Pattern NO_CPU =
      Pattern.compile("unable to find CPU model|Property '[^']*-cpu\\.[^']*' not found");

  private static final Pattern NO_TYPE = Pattern.compile("unsupported machine type");
  private static final Pattern NO_ACCELERATOR = Pattern.compile("invalid accelerator");
  private static final String UNKNOWN = "this host's QEMU does not know it";

  private static final int SERIAL_PORTS = 4;
  private static final long KIB = 1 << 10;

  /** Bytes that one word of QEMU's dirty log stands for: 64 pages. */
  private static final long DIRTY_WORD = 256 * KIB;

  /** QEMU rounds memory up to this. */
  private static final long MEMORY_ALIGNMENT = 8 * KIB;

  /**
   * What every x86-64 processor since 2009 has (level 2 of the x86-64 psABI), of no vendor, and
   * what TCG has as well: a guest may move between any two hosts. {@code enforce} fails the start
   * on one that lacks a feature, where QEMU would leave it out and say nothing to the guest.
   */
  static final String CPU_MODEL =
      "qemu64,+cx16,+lahf-lm,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3,-svm,enforce";

  /** Nothing of what a guest that has broken out would want. */
  private static final String SANDBOX =
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

  private static final Path KVM = Path.of("/dev/kvm");

  private final Path program;
  private final Accelerator accelerator;
  private final MachineTypes types;
  private final MachineTrial trial;

  public QemuLauncher(Path program) {
    this.program = program;
    this.accelerator = new Accelerator(program);
    this.types = new MachineTypes(program);
    this.trial = new MachineTrial(program);
  }

  @Override
  public String name() {
    return "qemu";
  }

  @Override
  public Map<String, String> newMachine() throws HypervisorException, InterruptedException {
    return Map.of(
        Machine.TYPE_KEY, types.newest(),
        Machine.CPU_KEY, CPU_MODEL,
        Machine.LAYOUT_KEY, Integer.toString(MachineLayout.NUMBER));
  }

  @Override
  public Optional<String> refusal(Machine machine)
      throws HypervisorException, InterruptedException {
    String type = machine.type().isEmpty() ? types.newest() : machine.type();
    check(Machine.TYPE_KEY, type, TYPE);
    checkNumbers(machine);
    String cpu = machine.cpu().isEmpty() ? CPU_MODEL : machine.cpu();
    check(Machine.CPU_KEY, cpu, CPU);
    QemuOptions options = new QemuOptions(machine.options());
    return trial.refusal(
        type + options.machine(),
        cpu + options.processor(),
        options.devices(),
        accelerators(machine));
  }

  private List<String> accelerators(Machine machine)
      throws HypervisorException, InterruptedException {
    String names = machine.accelerator().isEmpty() ? accelerator.best() : machine.accelerator();
    check(Machine.ACCELERATOR_KEY, names, ACCELERATORS);
    return List.of(names.split(":", -1));
  }

  @Override
  public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
      throws HypervisorException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(program.toString());
    process(command, spec, directory);
    machine(command, spec);
    if (!spec.clock().isZero()) {
      add(command, "-rtc", "base=" + beginning(spec.clock(), Instant.now()));
    }
    MachineLayout.rootPorts().forEach(port -> add(command, "-device", port));
    add(command, "-object", "throttle-group,id=" + QemuDevices.FILTER_GROUP);
    disks(command, spec);
    drives(command, spec);
    nics(command, spec, directory);
    if (spec.tpm().isPresent()) {
      TpmEmulator.addTo(command, directory);
    }
    rest(command, spec, directory);
    switch (mode) {
      case RUNNING -> {}
      case PAUSED -> command.add("-S");
      case INCOMING -> {
        add(command, "-incoming", "defer");
        command.add("-S");
      }
    }
    return command;
  }

  @Override
  public void prepare(GuestSpec spec, GuestDirectory directory, Optional<GuestUser> user)
      throws HypervisorException, InterruptedException {
    for (GuestSpec.Nic nic : spec.nics()) {
      NicBackend.prepare(nic, directory, user);
    }
    if (spec.tpm().isPresent()) {
      TpmEmulator.start(spec.tpm().get(), directory, user);
    }
  }

  @Override
  public Optional<HypervisorException> invalid(GuestSpec spec, String words) {
    Machine machine = spec.machine();
    if (NO_CPU.matcher(words).find() && !machine.cpu().isEmpty()) {
      return Optional.of(invalid(Machine.CPU_KEY, machine.cpu(), UNKNOWN));
    }
    if (NO_TYPE.matcher(words).find() && !machine.type().isEmpty()) {
      return Optional.of(invalid(Machine.TYPE_KEY, machine.type(), UNKNOWN));
    }
    if (NO_ACCELERATOR.matcher(words).find() && !machine.accelerator().isEmpty()) {
      return Optional.of(invalid(Machine.ACCELERATOR_KEY, machine.accelerator(), UNKNOWN));
    }
    return Optional.empty();
  }

  @Override
  public List<Integer> groups() throws HypervisorException {
    try {
      if (!Files.exists(KVM)) {
        return List.of();
      }
      int group = (Integer) Files.getAttribute(KVM, "unix:gid");
      boolean itsOwn = ((Integer) Files.getAttribute(KVM, "unix:mode") & 060) == 060;
      // Whatever root's group may is not for guests.
      return itsOwn && group != 0 ? List.of(group) : List.of();
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "whose " + KVM + " is: " + e, e);
    }
  }

  @Override
  public void started(GuestSpec spec, GuestDirectory directory)
      throws HypervisorException, InterruptedException {
    for (GuestSpec.Nic nic : spec.nics()) {
      NicBackend.connect(nic, directory);
    }
  }

  private static void process(List<String> command, GuestSpec spec, GuestDirectory directory) {
    // Threads get names, too, by which an operator knows the processors.
    add(command, "-name", "guest=" + doubled(spec.name()) + ",debug-threads=on");
    add(command, "-uuid", spec.vm().toString());
    add(command, "-pidfile", directory.pidFile().toString());
    add(command, "-qmp", socket("unix:", directory.qmpSocket()));
    add(command, "-qmp", socket("unix:", directory.watchdogSocket()));
    command.add("-no-user-config");
    command.add("-nodefaults");
    // The process stays after the guest has shut down, so that the server sees it and not a crash.
    command.add("-no-shutdown");
    add(command, "-action", "panic=pause");
    add(command, "-display", "none");
    add(command, "-sandbox", SANDBOX);
  }

  private void machine(List<String> command, GuestSpec spec)
      throws HypervisorException, InterruptedException {
    Machine machine = spec.machine();
    String type = machine.type().isEmpty() ? types.newest() : machine.type();
    check(Machine.TYPE_KEY, type, TYPE);
    checkNumbers(machine);
    if (spec.boot() instanceof Boot.Uefi uefi) {
      firmware(command, uefi);
      type += ",pflash0=firmware-code,pflash1=firmware-variables";
    }
    QemuOptions options = new QemuOptions(machine.options());
    add(command, "-machine", type + options.machine());
    List<String> accelerators = accelerators(machine);
    accelerators.forEach(name -> add(command, "-accel", name));
    String cpu = machine.cpu().isEmpty() ? CPU_MODEL : machine.cpu();
    check(Machine.CPU_KEY, cpu, CPU);
    add(command, "-cpu", cpu + options.processor());
    options.globals().forEach(global -> add(command, "-global", global));
    add(command, "-m", "size=" + memory(spec.memory().maximum(), accelerators) / KIB + "k");
    GuestSpec.Vcpus vcpus = spec.vcpus();
    add(
        command,
        "-smp",
        "cpus=%d,maxcpus=%d,sockets=%d,cores=%d,threads=1"
            .formatted(
                vcpus.present(),
                vcpus.maximum(),
                vcpus.maximum() / vcpus.coresPerSocket(),
                vcpus.coresPerSocket()));
    Smbios.options(spec.biosStrings()).forEach(option -> add(command, "-smbios", option));
    if (spec.boot() instanceof Boot.Kernel kernel) {
      add(command, "-kernel", kernel.kernel().toString());
      kernel.ramdisk().ifPresent(path -> add(command, "-initrd", path.toString()));
      add(command, "-append", kernel.arguments());
    } else {
      add(command, "-boot", "strict=on");
    }
  }

  /**
   * What a machine's clock shows as it begins.
   *
   * @param ahead by how much it is before the host's UTC
   */
  static String beginning(Duration ahead, Instant now) {
    return DateTimeFormatter.ISO_LOCAL_DATE_TIME.format(
        now.plus(ahead).truncatedTo(ChronoUnit.SECONDS).atOffset(ZoneOffset.UTC));
  }

  /**
   * Bytes of memory of the machine. Under TCG they are never a multiple of 256 KiB: up to QEMU 8.2
   * memory of such a length has its dirty log read word by word, and what TCG writes after that to
   * pages it has written to before is not noticed (cpu_physical_memory_sync_dirty_bitmap leaves out
   * tlb_reset_dirty). The guest then goes on at the destination with stale pages: seen with 7.2 in
   * 10 moves of 16 whose memory was sent for 3 s, in none of 12 with 8 KiB less.
   */
  static long memory(long wanted, List<String> accelerators) {
    boolean emulated = accelerators.contains("tcg");
    return emulated && wanted % DIRTY_WORD == 0 ? wanted - MEMORY_ALIGNMENT : wanted;
  }

  private static void firmware(List<String> command, Boot.Uefi uefi) throws HypervisorException {
    add(
        command,
        "-blockdev",
        json(
            Map.of(
                "driver",
                "file",
                "node-name",
                "firmware-code",
                "read-only",
                true,
                "filename",
                uefi.code().toString())));
    add(
        command,
        "-blockdev",
        json(
            Map.of(
                "driver", "file",
                "node-name", "firmware-variables",
                "filename", uefi.variables().toString())));
  }

  private static void disks(List<String> command, GuestSpec spec) throws HypervisorException {
    int index = firstIndex(spec.boot(), BootDevice.DISK);
    for (GuestSpec.Disk disk : spec.disks()) {
      add(command, "-blockdev", json(QemuDevices.blockNode(disk)));
      add(command, "-device", booting(QemuDevices.disk(disk), index < 0 ? index : index++));
    }
  }

  private static void drives(List<String> command, GuestSpec spec) throws HypervisorException {
    int index = firstIndex(spec.boot(), BootDevice.CD);
    for (GuestSpec.CdDrive drive : spec.drives()) {
      if (drive.medium().isPresent()) {
        add(
            command,
            "-blockdev",
            json(QemuDevices.blockNode(drive.device(), drive.medium().get())));
      }
      add(command, "-device", booting(QemuDevices.drive(drive), index < 0 ? index : index++));
    }
  }

  private static void nics(List<String> command, GuestSpec spec, GuestDirectory directory)
      throws HypervisorException {
    int index = firstIndex(spec.boot(), BootDevice.NETWORK);
    for (GuestSpec.Nic nic : spec.nics()) {
      add(command, "-netdev", QemuDevices.option(NicBackend.arguments(nic, directory)));
      Map<String, Object> card = QemuDevices.nic(nic, spec.machine().options());
      add(command, "-device", booting(card, index < 0 ? index : index++));
    }
  }

  private static String booting(Map<String, Object> device, int index) {
    return QemuDevices.option(device) + (index < 0 ? "" : ",bootindex=" + index);
  }

  /** The boot index of the first device of a kind, some way behind that of the kind before. */
  private static int firstIndex(Boot boot, BootDevice kind) {
    List<BootDevice> order =
        switch (boot) {
          case Boot.Bios bios -> bios.order();
          case Boot.Uefi uefi -> uefi.order();
          case Boot.Kernel kernel -> List.of();
        };
    int place = order.indexOf(kind);
    return place < 0 ? -1 : 1 + place * GuestSpec.DISK_SLOTS;
  }

  private static void rest(List<String> command, GuestSpec spec, GuestDirectory directory)
      throws HypervisorException {
    QemuOptions options = new QemuOptions(spec.machine().options());
    add(command, "-device", options.video());
    options.pointer().forEach(device -> add(command, "-device", device));
    add(command, "-vnc", "unix:" + doubled(directory.vncSocket().toString()));
    for (int port = 0; port < spec.machine().serialPorts(); port++) {
      String id = "serial" + port;
      add(
          command,
          "-chardev",
          "socket,id=" + id + "," + socket("path=", directory.serialSocket(port)));
      add(command, "-serial", "chardev:" + id);
    }
    add(
        command,
        "-device",
        "virtio-balloon-pci,id=balloon,deflate-on-oom=on," + MachineLayout.BALLOON);
    add(command, "-object", "rng-random,id=random,filename=/dev/urandom");
    add(command, "-device", "virtio-rng-pci,id=rng,rng=random," + MachineLayout.RNG);
    add(command, "-device", "pvpanic,id=panic");
    if (MachineLayout.hasAgent(spec.machine().layout())) {
      AgentPort.addTo(command, directory);
    }
  }

  private static void checkNumbers(Machine machine) throws HypervisorException {
    if (!MachineLayout.isKnown(machine.layout())) {
      throw invalid(Machine.LAYOUT_KEY, Integer.toString(machine.layout()), "there is no such one");
    }
    int ports = machine.serialPorts();
    if (ports < 1 || ports > SERIAL_PORTS) {
      throw invalid(
          Machine.SERIAL_PORTS_KEY, Integer.toString(ports), "not between 1 and " + SERIAL_PORTS);
    }
  }

  private static void check(String key, String value, Pattern pattern) throws HypervisorException {
    if (!pattern.matcher(value).matches()) {
      throw invalid(key, value, "not of the form that it has");
    }
  }

  private static HypervisorException invalid(String key, String value, String reason) {
    return HypervisorException.invalid("platform:" + key, value, reason);
  }

  private static void add(List<String> command, String option, String value) {
    command.add(option);
    command.add(value);
  }

  /** A comma ends an option's value unless doubled. */
  static String doubled(String value) {
    return value.replace(",", ",,");
  }

  private static String socket(String prefix, Path path) {
    return prefix + doubled(path.toString()) + ",server=on,wait=off";
  }

  private static String json(Map<String, Object> node) throws HypervisorException {
    try {
      return JSON.writeValueAsString(node);
    } catch (JsonProcessingException e) {
      throw new HypervisorException(Kind.REFUSED, "not to be written as JSON: " + node, e);
    }
  }
}
