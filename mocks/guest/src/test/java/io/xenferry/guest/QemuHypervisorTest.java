package io.xenferry.guest;

import static io.xenferry.guest.Guests.awaitState;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import io.xenferry.qemu.GuestDirectory;
import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.QemuLauncher;
import io.xenferry.qemu.QemuProvider;
import io.xenferry.qemu.access.GuestUser;
import io.xenferry.qemu.qmp.QmpClient;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.MachineOptions;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QemuHypervisorTest extends HypervisorContract {
  private String acpi = "off";

  @Override
  GuestLauncher launcher() {
    return withSecondMonitor(installed());
  }

  /** QEMU as it is on the path; where there is none the test is skipped, or fails. */
  static GuestLauncher installed() {
    Optional<Path> qemu = QemuProvider.program();
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(qemu).as("qemu-system-x86_64 on the path").isPresent();
    }
    assumeTrue(qemu.isPresent(), "qemu-system-x86_64 is not installed");
    return new QemuLauncher(qemu.orElseThrow());
  }

  /** A monitor is for one client; this one is for the test, which plays the guest through it. */
  GuestLauncher withSecondMonitor(GuestLauncher launcher) {
    return new GuestLauncher() {
      @Override
      public String name() {
        return launcher.name();
      }

      @Override
      public void prepare(GuestSpec spec, GuestDirectory directory, Optional<GuestUser> user)
          throws HypervisorException, InterruptedException {
        launcher.prepare(spec, directory, user);
      }

      @Override
      public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
          throws HypervisorException, InterruptedException {
        List<String> command = new ArrayList<>(launcher.command(spec, directory, mode));
        // Without an operating system nobody obeys ACPI; the slot's own power switch needs nobody.
        command.add("-global");
        command.add("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=" + acpi);
        command.add("-qmp");
        command.add("unix:" + directory.sockets().resolve("test.sock") + ",server=on,wait=off");
        return command;
      }
    };
  }

  /** A guest that is about to come is not the first to find out. */
  @Test
  void whatNoMachineOfTheHostCanBeIsToldBeforehand() throws Exception {
    GuestLauncher launcher = installed();
    Map<String, String> own = new HashMap<>(launcher.newMachine());
    own.put("xenferry:accel", "tcg");
    assertThat(launcher.refusal(GuestSpec.Machine.of(own))).isEmpty();
    Map.of(
            "xenferry:machine", "pc-q35-99.0",
            "xenferry:cpu", "qemu64,+avx512f,enforce")
        .forEach((key, value) -> {
          Map<String, String> other = new HashMap<>(own);
          other.put(key, value);
          assertThat(refusal(launcher, other))
              .contains(key.equals("xenferry:cpu") ? "avx512f" : value);
        });
    own.put("xenferry:cpu", "qemu64;");
    assertThatThrownBy(() -> launcher.refusal(GuestSpec.Machine.of(own)))
        .isInstanceOf(HypervisorException.class);
  }

  /** Of every kind of machine there is one that goes on elsewhere. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "acpi=off,hpet=off,nic_type=e1000,nx=off,usb_tablet=on,vga=cirrus,videoram=8",
        "acpi_s3=off,acpi_s4=off,nic_type=rtl8139,pae=off,videoram=32",
        "videoram=1"
      })
  void sendsTheMemoryOfAMachineThatIsNotTheUsualOne(String text) throws Exception {
    MachineOptions options = MachineOptions.parse(text);
    Guest source = guests.host("s").start(unusual("a", options), false);
    Guest destination = guests.host("d").startIncoming(unusual("b", options));
    toPreSwitchover(source, destination.incomingSocket());
    source.finishMemory();
    awaitState(destination, Guest.State.RECEIVED);
    destination.activate();
    destination.resume();
    assertThat(destination.state()).isEqualTo(Guest.State.RUNNING);
    assertThat(destination.hardware().spec().machine().options()).isEqualTo(options);
    assertThat(installed().refusal(source.hardware().spec().machine())).isEmpty();
  }

  private GuestSpec unusual(String disk, MachineOptions options) throws Exception {
    GuestSpec spec = spec(disk);
    GuestSpec.Nic card = new GuestSpec.Nic("0", "02:00:00:00:00:01", "xenbr0");
    return spec.with(spec.machine().with(options)).with(spec.disks(), spec.drives(), List.of(card));
  }

  /** So what a machine is must go with its memory. */
  @Test
  void theMemoryFitsNoOtherMachine() throws Exception {
    Guest source = guests.host("s").start(unusual("a", MachineOptions.parse("vga=cirrus")), false);
    Guest destination = guests.host("d").startIncoming(unusual("b", MachineOptions.USUAL));
    source.sendMemory(destination.incomingSocket(), 0);
    awaitState(destination, Guest.State.GONE);
  }

  private static String refusal(GuestLauncher launcher, Map<String, String> platform) {
    try {
      // Once more, from what is remembered.
      launcher.refusal(GuestSpec.Machine.of(platform));
      return launcher.refusal(GuestSpec.Machine.of(platform)).orElse("");
    } catch (HypervisorException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aLaterPassHoldsWhatTheGuestWroteSinceTheOneBefore() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), true);
    Path socket = guests.directory.resolve("s").resolve(vm.toString()).resolve("test.sock");
    try (SourceDisk source = guest.source("xvda");
        QmpClient test = QmpClient.connect(socket, Duration.ofSeconds(30), e -> {}, () -> {})) {
      source.beginPass().get(10, SECONDS).end(true).get(10, SECONDS);
      write(test, 2 << 20);
      assertThat(source.dirtyBytes().get(10, SECONDS)).isEqualTo(64 << 10);
      SourceDisk.Pass pass = source.beginPass().get(10, SECONDS);
      write(test, 4 << 20);
      assertThat(pass.ranges()).containsExactly(new Range(2 << 20, 64 << 10));
      pass.end(false).get(10, SECONDS);
      SourceDisk.Pass next = source.beginPass().get(10, SECONDS);
      assertThat(next.ranges())
          .as("given back, and what came meanwhile")
          .containsExactly(new Range(2 << 20, 64 << 10), new Range(4 << 20, 64 << 10));
      ByteBuffer content = ByteBuffer.allocate(1);
      next.content().read(2 << 20, content).get(10, SECONDS);
      assertThat(content.get(0)).isEqualTo((byte) 0x5a);
      next.end(true).get(10, SECONDS);
    }
  }

  /** A small write makes as much dirty as one of 64 KiB. */
  @Test
  void aSlowedGuestWritesNoMoreOftenThanItsBlocksCanBeCopied() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), true);
    Path socket = guests.directory.resolve("s").resolve(vm.toString()).resolve("test.sock");
    try (QmpClient test = QmpClient.connect(socket, Duration.ofSeconds(30), e -> {}, () -> {})) {
      guest.throttle(10 << 20);
      assertThat(limits(test)).containsExactly(10L << 20, 160L);
      guest.throttle(1 << 20);
      assertThat(limits(test)).containsExactly(1L << 20, 64L);
      guest.throttle(0);
      assertThat(limits(test)).containsExactly(0L, 0L);
    }
  }

  private static List<Long> limits(QmpClient monitor) throws Exception {
    JsonNode disk =
        monitor.execute("query-block", Map.of(), Duration.ofSeconds(30)).path(0).path("inserted");
    return List.of(disk.path("bps_wr").asLong(-1), disk.path("iops_wr").asLong(-1));
  }

  @Test
  void aGuestThatDoesNotAnswerKeepsItsDisk() throws Exception {
    acpi = "on";
    Guest guest = guests.host("s", Duration.ofSeconds(2)).start(spec("a"), false);
    GuestSpec.Disk disk = extra("xvdb", "b");
    guest.hardware().attach(disk);
    assertThatThrownBy(() -> guest.hardware().detachDisk("xvdb"))
        .isInstanceOfSatisfying(
            HypervisorException.class,
            e -> assertThat(e.kind()).isEqualTo(HypervisorException.Kind.TIMEOUT));
    assertThat(guest.devices()).containsExactly("xvda", "xvdb");
    try (SourceDisk source = guest.source("xvdb")) {
      source.beginPass().get(30, SECONDS).end(true).get(30, SECONDS);
    }
  }

  /** As a driver would read it: {@code num_pages}, the first word of the device's configuration. */
  @Override
  long askedFor(Guest guest) throws Exception {
    Path socket = guests.directory.resolve("s").resolve(vm.toString()).resolve("test.sock");
    Duration deadline = Duration.ofSeconds(30);
    try (QmpClient test = QmpClient.connect(socket, deadline, e -> {}, () -> {})) {
      for (JsonNode device :
          test.execute("query-pci", Map.of(), deadline).path(0).path("devices")) {
        for (JsonNode region : device.path("regions")) {
          long address = region.path("address").asLong();
          if (device.path("qdev_id").asText().equals("balloon")
              && region.path("mem_type_64").asBoolean()
              && address > 0) {
            String command = "xp /1wx 0x" + Long.toHexString(address + BALLOON_CONFIGURATION);
            JsonNode answer =
                test.execute("human-monitor-command", Map.of("command-line", command), deadline);
            String words = answer.asText();
            long pages = Long.decode(words.substring(words.indexOf("0x")).strip());
            return guest.hardware().memory() - pages * 4096;
          }
        }
      }
    }
    // The firmware has not given it an address yet.
    return -1;
  }

  /** Where QEMU has it, in the fourth region of a virtio device. */
  private static final int BALLOON_CONFIGURATION = 0x2000;

  /**
   * A guest that has not run yet: what its flash memory holds is what its file had at the start.
   */
  @Test
  void whatIsInItsFlashGoesAlongWhateverTheFileAtTheDestinationHas() throws Exception {
    Path installed = Path.of("/usr/share/OVMF");
    boolean there = Files.isRegularFile(installed.resolve("OVMF_CODE_4M.fd"));
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(there).as("Debian package ovmf").isTrue();
    }
    assumeTrue(there, "OVMF is not installed");
    Path here = flash(installed, "here.fd", (byte) 1);
    Path other = flash(installed, "other.fd", (byte) 2);
    Guest source = guests.host("s").start(uefi(installed, here, "a"), true);
    Guest destination = guests.host("d").startIncoming(uefi(installed, other, "b"));
    source.sendMemory(destination.incomingSocket(), 0);
    source.pauseForSwitch(Duration.ofSeconds(30));
    Guests.awaitState(source, Guest.State.PRE_SWITCHOVER);
    source.finishMemory();
    Guests.awaitState(destination, Guest.State.RECEIVED);
    destination.activate();
    destination.resume();
    destination.pause();
    assertThat(Files.readAllBytes(other)[FLASH_PLACE]).isEqualTo((byte) 1);
    source.destroy();
    destination.destroy();
  }

  @Test
  void itsTpmGoesAlongAndEndsWithIt() throws Exception {
    requireSwtpm();
    Path here = guests.directory.resolve("tpm-here");
    Path other = guests.directory.resolve("tpm-other");
    QemuHypervisor first = guests.host("s");
    first.start(spec("a").withTpm(here), true);
    first.close();
    Path state = here.resolve("tpm2-00.permall");
    assertThat(state).as("made when the machine begins").exists();
    Guest source = guests.host("s").find(vm).orElseThrow();
    Guest destination = guests.host("d").startIncoming(spec("b").withTpm(other));
    assertThat(other.resolve("tpm2-00.permall")).doesNotExist();
    source.sendMemory(destination.incomingSocket(), 0);
    source.pauseForSwitch(Duration.ofSeconds(30));
    Guests.awaitState(source, Guest.State.PRE_SWITCHOVER);
    source.finishMemory();
    Guests.awaitState(destination, Guest.State.RECEIVED);
    assertThat(other.resolve("tpm2-00.permall")).hasSameBinaryContentAs(state);
    destination.activate();
    destination.resume();
    source.destroy();
    assertThat(emulators("s")).isEmpty();
    assertThat(emulators("d")).hasSize(1);
    destination.destroy();
    assertThat(emulators("d")).isEmpty();
  }

  @Test
  void itsTpmEndsWhenItsProcessIsKilled() throws Exception {
    requireSwtpm();
    Guest guest = guests.host("s").start(spec("a").withTpm(guests.directory.resolve("tpm")), false);
    Path pid = guests.directory.resolve("s").resolve(vm.toString()).resolve("pid");
    ProcessHandle.of(Long.parseLong(Files.readString(pid).strip())).orElseThrow().destroyForcibly();
    Guests.awaitState(guest, Guest.State.GONE);
    await().atMost(Duration.ofSeconds(30)).until(() -> emulators("s").isEmpty());
  }

  private static void requireSwtpm() {
    boolean there =
        Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
            .anyMatch(place -> Files.isExecutable(Path.of(place, "swtpm")));
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(there).as("swtpm on the path").isTrue();
    }
    assumeTrue(there, "swtpm is not installed");
  }

  /** The processes of swtpm for guests of a host. */
  private List<ProcessHandle> emulators(String host) {
    String words = guests.directory.resolve(host).resolve(vm.toString()) + "/tpm.pid";
    return ProcessHandle.allProcesses()
        .filter(p -> p.info().commandLine().filter(c -> c.contains(words)).isPresent())
        .filter(ProcessHandle::isAlive)
        .toList();
  }

  /** In the spare block, which firmware does not look at before it writes. */
  private static final int FLASH_PLACE = 400_000;

  private Path flash(Path installed, String name, byte content) throws Exception {
    byte[] image = Files.readAllBytes(installed.resolve("OVMF_VARS_4M.fd"));
    image[FLASH_PLACE] = content;
    return Files.write(guests.directory.resolve(name), image);
  }

  private GuestSpec uefi(Path installed, Path variables, String disk) throws Exception {
    GuestSpec bios = spec(disk);
    return new GuestSpec(
        bios.vm(),
        bios.name(),
        bios.machine(),
        bios.memory(),
        bios.vcpus(),
        new GuestSpec.Boot.Uefi(
            List.of(GuestSpec.BootDevice.DISK), installed.resolve("OVMF_CODE_4M.fd"), variables),
        bios.disks(),
        bios.drives(),
        bios.nics(),
        bios.platform());
  }

  private static void write(QmpClient monitor, int offset) throws Exception {
    monitor.execute(
        "human-monitor-command",
        Map.of(
            "command-line",
            "qemu-io -d /machine/peripheral/xvda/virtio-backend \"write -P 0x5a "
                + offset
                + " 4096\""),
        Duration.ofSeconds(30));
  }
}
