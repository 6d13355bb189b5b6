package io.xenferry.guest;

import static io.xenferry.guest.Guests.awaitState;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.FileBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.access.GuestUsers;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Guest.State;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.Scheduling;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What every hypervisor behind the driver must do; the fake is held to it as QEMU is. */
abstract class HypervisorContract {
  static final long SIZE = 8 << 20;

  final UUID vm = UUID.randomUUID();
  Guests guests;

  abstract GuestLauncher launcher() throws Exception;

  /** As whom the guests run. */
  GuestUsers users() throws Exception {
    return new GuestUsers.Server();
  }

  @BeforeEach
  void open() throws Exception {
    guests = new Guests(launcher(), users());
  }

  @AfterEach
  void close() throws Exception {
    guests.close();
  }

  GuestSpec spec(String disk) throws Exception {
    return guests.spec(vm, Map.of(), guests.disk(disk, SIZE));
  }

  @Test
  void startsPausedAndRunsAndPausesAgain() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), true);
    assertThat(guest.state()).isEqualTo(State.PAUSED);
    guest.resume();
    assertThat(guest.state()).isEqualTo(State.RUNNING);
    guest.pause();
    assertThat(guest.state()).isEqualTo(State.PAUSED);
    assertThat(guest.devices()).containsExactly("xvda");
  }

  @Test
  void isFoundAgainByALaterServer() throws Exception {
    QemuHypervisor first = guests.host("s");
    first.start(spec("a"), false);
    first.close();

    QemuHypervisor second = guests.host("s");
    assertThat(second.guests()).singleElement().extracting(Guest::vm).isEqualTo(vm);
    Guest guest = second.find(vm).orElseThrow();
    assertThat(guest.state()).isEqualTo(State.RUNNING);
    assertThatThrownBy(() -> second.start(spec("a"), false))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("already has a process");
    guest.destroy();
    assertThat(guest.state()).isEqualTo(State.GONE);
    assertThat(second.guests()).isEmpty();
    guest.destroy();
  }

  @Test
  void maySitInADirectoryWhoseNameIsTooLongForSockets() throws Exception {
    String deep = "d".repeat(120);
    QemuHypervisor first = guests.host(deep);
    first.start(spec("a"), false);
    first.close();

    QemuHypervisor second = guests.host(deep);
    Guest guest = second.find(vm).orElseThrow();
    assertThat(guest.state()).isEqualTo(State.RUNNING);
    try (SourceDisk source = guest.source("xvda")) {
      source.beginPass().get(30, SECONDS).end(true).get(30, SECONDS);
    }
    Guest incoming = guests.host("i".repeat(120)).startIncoming(spec("b"));
    toPreSwitchover(guest, incoming.incomingSocket());
    guest.finishMemory();
    awaitState(incoming, State.RECEIVED);
  }

  @Test
  void isFoundEvenWhenItsProcessIdWasNeverWritten() throws Exception {
    QemuHypervisor first = guests.host("s");
    first.start(spec("a"), false);
    first.close();
    Files.delete(guests.directory.resolve("s").resolve(vm.toString()).resolve("pid"));

    assertThat(guests.host("s").find(vm)).isPresent();
  }

  @Test
  void tellsWhatHappensAndThatItDied() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), false);
    List<State> seen = new CopyOnWriteArrayList<>();
    guest.onChange(seen::add);
    guest.pause();
    // What is over when it would be told is not told.
    await().atMost(Duration.ofSeconds(60)).until(() -> seen.contains(State.PAUSED));
    guest.resume();
    await().atMost(Duration.ofSeconds(60)).until(() -> seen.contains(State.RUNNING));
    long pid =
        Long.parseLong(
            Files.readString(guests.directory.resolve("s").resolve(vm.toString()).resolve("pid"))
                .trim());
    ProcessHandle.of(pid).orElseThrow().destroyForcibly();
    await().atMost(Duration.ofSeconds(60)).until(() -> seen.contains(State.GONE));
    assertThat(guest.state()).isEqualTo(State.GONE);
    assertThatThrownBy(guest::pause)
        .isInstanceOfSatisfying(
            HypervisorException.class,
            e -> assertThat(e.kind()).isEqualTo(HypervisorException.Kind.GONE));
  }

  @Test
  void refusesADiskThatAnotherWritesTo() throws Exception {
    guests.host("s").start(spec("a"), false);
    GuestSpec second = guests.spec(UUID.randomUUID(), Map.of(), guests.directory.resolve("a"));
    assertThatThrownBy(() -> guests.host("d").start(second, false))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("did not start");
  }

  @Test
  void sendsItsMemory() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    assertThat(destination.state()).isEqualTo(State.INCOMING);

    toPreSwitchover(source, destination.incomingSocket());
    assertThat(destination.state()).isEqualTo(State.INCOMING);
    source.finishMemory();
    awaitState(source, State.SENT);
    awaitState(destination, State.RECEIVED);
    destination.activate();
    destination.activate();
    assertThat(destination.state()).isEqualTo(State.RECEIVED);
    destination.resume();
    assertThat(destination.state()).isEqualTo(State.RUNNING);
    assertThat(source.state()).isEqualTo(State.SENT);
    destination.announce();
    destination.pause();
    assertThat(destination.state()).isEqualTo(State.PAUSED);
    source.cancelSend();
    assertThat(source.state()).isEqualTo(State.SENT);
    source.destroy();
  }

  @Test
  void runsOnWhenTheSendingIsCancelledBeforeTheSwitch() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    source.cancelSend();
    assertThat(source.state()).isEqualTo(State.RUNNING);
    awaitState(destination, State.GONE);
  }

  @Test
  void staysPausedWhenItWasPausedBeforeACancelledSending() throws Exception {
    Guest source = guests.host("s").start(spec("a"), true);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    source.cancelSend();
    assertThat(source.state()).isEqualTo(State.PAUSED);
  }

  @Test
  void runsOnWhenTheDestinationDiesInTheSwitch() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    destination.destroy();
    source.cancelSend();
    assertThat(source.state()).isEqualTo(State.RUNNING);
  }

  @Test
  void runsAgainAtTheSourceAfterItWasSent() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    source.finishMemory();
    awaitState(source, State.SENT);
    awaitState(destination, State.RECEIVED);
    destination.destroy();
    source.resume();
    assertThat(source.state()).isEqualTo(State.RUNNING);

    Guest again = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, again.incomingSocket());
    source.finishMemory();
    awaitState(source, State.SENT);
    awaitState(again, State.RECEIVED);
  }

  @Test
  void doesNotActivateWhatAnotherWritesTo() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    try (FileBackend intruder =
        FileBackend.open(guests.directory.resolve("b"), FileBackend.Mode.READ_WRITE)) {
      assertThat(intruder.readOnly()).isFalse();
      source.finishMemory();
      awaitState(destination, State.RECEIVED);
      assertThatThrownBy(destination::activate)
          .isInstanceOf(HypervisorException.class)
          .hasMessageContaining("another process writes");
      assertThatThrownBy(destination::resume).isInstanceOf(HypervisorException.class);
    }
    destination.activate();
    destination.resume();
  }

  @Test
  void isFoundInEveryPhaseOfTheSending() throws Exception {
    QemuHypervisor first = guests.host("s");
    QemuHypervisor firstDestination = guests.host("d");
    Guest source = first.start(spec("a"), false);
    Guest destination = firstDestination.startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    first.close();
    firstDestination.close();

    Guest foundSource = guests.host("s").find(vm).orElseThrow();
    assertThat(foundSource.state()).isEqualTo(State.PRE_SWITCHOVER);
    Guest foundDestination = guests.host("d").find(vm).orElseThrow();
    assertThat(foundDestination.state()).isEqualTo(State.INCOMING);
    foundSource.finishMemory();
    awaitState(foundSource, State.SENT);
    awaitState(foundDestination, State.RECEIVED);
  }

  @Test
  void leavesTheNextCopyAloneWhenItsOwnThreadGivesUpTheLast() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), true);
    SourceDisk last = guest.source("xvda");
    SourceDisk.Pass pass = last.beginPass().get(10, SECONDS);
    SourceDisk next =
        pass.end(false)
            .thenRun(last::close)
            .thenCompose(closed -> {
              try {
                return CompletableFuture.completedFuture(guest.source("xvda"));
              } catch (Exception e) {
                return CompletableFuture.failedFuture(e);
              }
            })
            .get(60, SECONDS);
    try (next) {
      for (int i = 0; i < 3; i++) {
        next.beginPass().get(30, SECONDS).end(true).get(30, SECONDS);
      }
    }
  }

  @Test
  void offersItsDiskInPasses() throws Exception {
    GuestSpec spec = spec("a");
    try (RandomAccessFile disk =
        new RandomAccessFile(guests.directory.resolve("a").toFile(), "rw")) {
      disk.seek(1 << 20);
      disk.write(new byte[64 << 10]);
    }
    QemuHypervisor host = guests.host("s");
    Guest guest = host.start(spec, true);
    SourceDisk source = guest.source("xvda");
    assertThat(source.size()).isEqualTo(SIZE);
    assertThat(source.dirtyBytes().get(10, SECONDS)).isZero();
    SourceDisk.Pass first = source.beginPass().get(10, SECONDS);
    assertThat(first.ranges()).containsExactly(new Range(1 << 20, 64 << 10));
    ByteBuffer content = ByteBuffer.allocate(4096);
    first.content().read(1 << 20, content).get(10, SECONDS);
    first.end(false).get(10, SECONDS);

    SourceDisk.Pass again = source.beginPass().get(10, SECONDS);
    assertThat(again.ranges()).isEqualTo(first.ranges());
    again.end(true).get(10, SECONDS);
    SourceDisk.Pass second = source.beginPass().get(10, SECONDS);
    assertThat(second.ranges()).isEmpty();
    second.end(false).get(10, SECONDS);
    SourceDisk.Pass third = source.beginPass().get(10, SECONDS);
    assertThat(third.ranges()).isEmpty();

    // The server dies in the middle of a pass; the next one begins anew.
    host.close();
    Guest found = guests.host("s").find(vm).orElseThrow();
    try (SourceDisk anew = found.source("xvda")) {
      SourceDisk.Pass pass = anew.beginPass().get(10, SECONDS);
      assertThat(pass.ranges()).isEqualTo(first.ranges());
      pass.end(true).get(10, SECONDS);
    }
    found.source("xvda").close();
    found.throttle(1 << 20);
    found.throttle(0);
  }

  @Test
  void goesOnWithWhatAnEarlierServerHadNoted() throws Exception {
    QemuHypervisor host = guests.host("s");
    SourceDisk source = host.start(spec("a"), true).source("xvda", 0, "one-copy");
    source.beginPass().get(10, SECONDS).end(true).get(10, SECONDS);
    assertThat(source.beginPass().get(10, SECONDS).ranges()).as("a pass under way").isEmpty();
    host.close();

    Guest found = guests.host("s").find(vm).orElseThrow();
    assertThat(found.sourceAgain("xvda", 0, "another-copy")).isEmpty();
    try (SourceDisk again = found.sourceAgain("xvda", 0, "one-copy").orElseThrow()) {
      SourceDisk.Pass next = again.beginPass().get(10, SECONDS);
      assertThat(next.ranges()).as("not all that is allocated").isEmpty();
      next.end(true).get(10, SECONDS);
      again.beginPass().get(10, SECONDS).end(true).get(10, SECONDS);
    }
    assertThat(found.sourceAgain("xvda", 0, "one-copy")).as("given up").isEmpty();
  }

  GuestSpec.Disk extra(String device, String file) throws Exception {
    return new GuestSpec.Disk(device, UUID.randomUUID(), guests.disk(file, SIZE), "raw", false);
  }

  @Test
  void plugsADiskAndUnplugsIt() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), false);
    GuestSpec.Disk disk = extra("xvdb", "b");
    guest.hardware().attach(disk);
    assertThat(guest.devices()).containsExactly("xvda", "xvdb");
    assertThatThrownBy(() -> guest.hardware().attach(disk))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("has a disk xvdb");
    GuestSpec other = guests.spec(UUID.randomUUID(), Map.of(), guests.directory.resolve("b"));
    assertThatThrownBy(() -> guests.host("d").start(other, false))
        .as("the guest has it open")
        .isInstanceOf(HypervisorException.class);
    try (SourceDisk source = guest.source("xvdb")) {
      source.beginPass().get(30, SECONDS).end(true).get(30, SECONDS);
    }
    guest.hardware().detachDisk("xvdb");
    assertThat(guest.devices()).containsExactly("xvda");
    guest.hardware().detachDisk("xvdb");
    guests.host("d").start(other, false).destroy();
    guest.hardware().attach(disk);
    assertThat(guest.hardware().spec().disks()).hasSize(2).contains(disk);
  }

  @Test
  void doesNotPlugWhatAnotherWritesTo() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), false);
    GuestSpec.Disk disk = extra("xvdb", "b");
    try (FileBackend other = FileBackend.open(disk.file(), FileBackend.Mode.READ_WRITE)) {
      assertThat(other.readOnly()).isFalse();
      assertThatThrownBy(() -> guest.hardware().attach(disk))
          .isInstanceOfSatisfying(
              HypervisorException.class,
              e -> assertThat(e.kind()).isEqualTo(HypervisorException.Kind.REFUSED));
    }
    assertThat(guest.devices()).containsExactly("xvda");
    guest.hardware().attach(disk);
  }

  @Test
  void plugsANetworkCardAndUnplugsIt() throws Exception {
    Guest guest = guests.host("s").start(spec("a"), false);
    GuestSpec.Nic nic = new GuestSpec.Nic("3", "02:00:00:00:00:03", "xenbr0");
    guest.hardware().attach(nic);
    assertThat(guest.hardware().spec().nics()).containsExactly(nic);
    assertThatThrownBy(() -> guest.hardware().attach(nic))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("has a network card 3");
    guest.hardware().detachNic("3");
    assertThat(guest.hardware().spec().nics()).isEmpty();
    guest.hardware().detachNic("3");
    guest.hardware().attach(nic);
  }

  @Test
  void takesAndGivesACdMemoryAndProcessors() throws Exception {
    GuestSpec spec =
        spec("a")
            .with(
                spec("a").disks(),
                List.of(new GuestSpec.CdDrive("xvdd", Optional.empty())),
                List.of())
            .with(new GuestSpec.Vcpus(1, 3, 1), new GuestSpec.Memory(64 << 20, 64 << 20));
    Guest guest = guests.host("s").start(spec, false);
    GuestSpec.Medium medium =
        new GuestSpec.Medium(UUID.randomUUID(), guests.disk("cd", 1 << 20), "raw");
    guest.hardware().insert("xvdd", medium);
    assertThat(guest.hardware().spec().drives().getFirst().medium()).contains(medium);
    assertThatThrownBy(() -> guest.hardware().insert("xvdd", medium))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("not empty");
    assertThatThrownBy(() -> guest.hardware().insert("xvda", medium))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("no CD drive");
    guest.hardware().eject("xvdd");
    guest.hardware().eject("xvdd");
    assertThat(guest.hardware().spec().drives().getFirst().medium()).isEmpty();
    guest.hardware().insert("xvdd", medium);

    guest.hardware().setVcpus(3);
    assertThat(guest.hardware().vcpus()).isEqualTo(3);
    assertThat(guest.hardware().spec().vcpus().present()).isEqualTo(3);
    assertThatThrownBy(() -> guest.hardware().setVcpus(4)).isInstanceOf(HypervisorException.class);
    // QEMU's machines have some KiB less where the processor is emulated.
    assertThat(guest.hardware().memory()).isBetween((64L << 20) - (8 << 10), 64L << 20);
    guest.hardware().setMemoryTarget(32 << 20);
    assertThat(guest.hardware().spec().memory().target()).isEqualTo(32 << 20);

    // The copy has what was plugged.
    GuestSpec now = guest.hardware().spec();
    GuestSpec copy =
        now.with(
            guests.spec(vm, Map.of(), guests.disk("b", SIZE)).disks(), now.drives(), List.of());
    Guest destination = guests.host("d").startIncoming(copy);
    toPreSwitchover(guest, destination.incomingSocket());
    guest.finishMemory();
    awaitState(destination, State.RECEIVED);
  }

  @Test
  void keepsItsProcessorsToThoseOfTheHostThatItMayUse() throws Exception {
    GuestSpec spec =
        spec("a")
            .with(
                new GuestSpec.Vcpus(1, 3, 1, new Scheduling(128, List.of(Set.of(0, 900)))),
                new GuestSpec.Memory(64 << 20, 64 << 20));
    QemuHypervisor first = guests.host("s");
    Guest guest = first.start(spec, false);
    int usual = nice(process());
    // Half as much is log(2) / log(1.25) steps.
    assertThat(vcpus()).containsExactly(new Vcpu("0", usual + 3));
    guest.hardware().setVcpus(2);
    assertThat(vcpus()).containsExactly(new Vcpu("0", usual + 3), new Vcpu("0", usual + 3));
    boolean root = Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0);
    Set<Integer> all =
        IntStream.range(0, Scheduling.PROCESSORS).boxed().collect(Collectors.toSet());
    assertThatThrownBy(() ->
            guest
                .hardware()
                .setScheduling(new Scheduling(root ? 256 : 128, List.of(all, Set.of(900)))))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("none of the processors");
    assertThat(vcpus()).containsExactly(new Vcpu("0", usual + 3), new Vcpu("0", usual + 3));
    first.close();

    Guest later = guests.host("s").find(vm).orElseThrow();
    assertThat(later.hardware().spec().vcpus()).isEqualTo(spec.vcpus().with(2));
    later.hardware().setScheduling(new Scheduling(64, List.of(Set.of(0))));
    assertThat(vcpus()).containsExactly(new Vcpu("0", usual + 6), new Vcpu("0", usual + 6));
    if (root) {
      later.hardware().setScheduling(Scheduling.FREE);
      assertThat(vcpus()).extracting(Vcpu::nice).containsExactly(usual, usual);
      assertThat(vcpus()).extracting(Vcpu::processors).doesNotContain("0");
    }
  }

  private record Vcpu(String processors, int nice) {}

  /** By the kernel: those threads of the guest that are its processors. */
  private List<Vcpu> vcpus() throws Exception {
    List<Vcpu> found = new ArrayList<>();
    try (Stream<Path> threads = Files.list(process().resolve("task"))) {
      for (Path thread : threads.sorted().toList()) {
        if (Files.readString(thread.resolve("comm")).matches("(?s)(CPU [0-9]+/|vcpu).*")) {
          String allowed =
              Files.readAllLines(thread.resolve("status")).stream()
                  .filter(line -> line.startsWith("Cpus_allowed_list:"))
                  .findFirst()
                  .orElseThrow();
          found.add(new Vcpu(allowed.substring(allowed.indexOf(':') + 1).strip(), nice(thread)));
        }
      }
    }
    return found;
  }

  private Path process() throws Exception {
    Path directory = guests.directory.resolve("s").resolve(vm.toString());
    return Path.of("/proc", Files.readString(directory.resolve("pid")).trim());
  }

  /** Of a process or a thread, proc(5). */
  private static int nice(Path task) throws Exception {
    String stat = Files.readString(task.resolve("stat"));
    return Integer.parseInt(stat.substring(stat.lastIndexOf(')') + 2).split(" ")[16]);
  }

  /** It may be long until the guest has a driver for its balloon, and it may boot anew before. */
  @Test
  void isAskedFromTheStartToKeepNoMoreThanItsTarget() throws Exception {
    GuestSpec spec =
        spec("a").with(new GuestSpec.Vcpus(1, 1, 1), new GuestSpec.Memory(64 << 20, 48 << 20));
    Guest guest = guests.host("s").start(spec, false);
    await().atMost(Duration.ofSeconds(60)).until(() -> askedFor(guest) == 48 << 20);
    assertThat(guest.hardware().spec().memory().target()).isEqualTo(48 << 20);
    guest.restart();
    await().atMost(Duration.ofSeconds(60)).until(() -> askedFor(guest) == 48 << 20);
  }

  /** Bytes that the guest has once it has done what its balloon is asked for. */
  long askedFor(Guest guest) throws Exception {
    return guest.hardware().memory();
  }

  /** QEMU under TCG would say yes, and die a moment later. */
  @Test
  void takesNoProcessorFromAGuestWhoseProcessorsAreEmulated() throws Exception {
    GuestSpec spec =
        spec("a").with(new GuestSpec.Vcpus(1, 3, 1), new GuestSpec.Memory(64 << 20, 64 << 20));
    assertThat(spec.machine().accelerator()).isEqualTo("tcg");
    QemuHypervisor first = guests.host("s");
    first.start(spec, false).hardware().setVcpus(2);
    first.close();
    Guest guest = guests.host("s").find(vm).orElseThrow();
    assertThatThrownBy(() -> guest.hardware().setVcpus(1))
        .isInstanceOfSatisfying(
            HypervisorException.class,
            e -> assertThat(e.kind()).isEqualTo(HypervisorException.Kind.REFUSED))
        .hasMessageContaining("tcg");
    assertThat(guest.hardware().vcpus()).isEqualTo(2);
    assertThat(guest.hardware().spec().vcpus().present()).isEqualTo(2);
    guest.hardware().setVcpus(2);
    guest.hardware().setVcpus(3);
    assertThat(guest.hardware().vcpus()).isEqualTo(3);
    assertThat(guest.state()).isEqualTo(State.RUNNING);
  }

  @Test
  void aLaterServerKnowsWhatWasPlugged() throws Exception {
    QemuHypervisor first = guests.host("s");
    GuestSpec.Disk disk = extra("xvdb", "b");
    first.start(spec("a"), false).hardware().attach(disk);
    first.close();
    Guest found = guests.host("s").find(vm).orElseThrow();
    assertThat(found.devices()).containsExactly("xvda", "xvdb");
    found.hardware().detachDisk("xvdb");
    assertThat(found.devices()).containsExactly("xvda");
  }

  @Test
  void aLaterServerForgetsWhatWasNotPluggedAfterAll() throws Exception {
    QemuHypervisor first = guests.host("s");
    first.start(spec("a"), false).hardware().attach(extra("xvdb", "b"));
    first.close();
    Path noted = guests.directory.resolve("s").resolve(vm.toString()).resolve("spec.json");
    String twice = Files.readString(noted);
    Files.writeString(noted, twice.replace("xvdb", "xvdc"));
    Guest found = guests.host("s").find(vm).orElseThrow();
    await().atMost(Duration.ofSeconds(30)).until(() -> found.devices().equals(List.of("xvda")));
  }

  void toPreSwitchover(Guest source, Path socket) throws Exception {
    source.sendMemory(socket, 0);
    await().atMost(Duration.ofSeconds(60)).until(() -> source.memoryProgress().sent() > 0);
    source.pauseForSwitch(Duration.ofMillis(300));
    awaitState(source, State.PRE_SWITCHOVER);
  }
}
