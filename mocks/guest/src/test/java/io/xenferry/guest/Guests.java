package io.xenferry.guest;

import static org.awaitility.Awaitility.await;

import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.access.GuestUsers;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Stream;

/** A place for guests of a test; every process is gone when it is closed. */
final class Guests implements AutoCloseable {
  final Path directory;
  final GuestLauncher launcher;
  private final GuestUsers users;
  private final List<QemuHypervisor> hypervisors = new ArrayList<>();
  private final List<Path> runDirectories = new ArrayList<>();

  Guests(GuestLauncher launcher) throws IOException {
    this(launcher, new GuestUsers.Server());
  }

  Guests(GuestLauncher launcher, GuestUsers users) throws IOException {
    this.launcher = launcher;
    this.users = users;
    // Not JUnit's directory: its path is too long for sockets.
    this.directory = Files.createTempDirectory("xfg");
  }

  /** A host of its own, or the same one again after its server died. */
  QemuHypervisor host(String name) {
    return host(name, Duration.ofSeconds(30));
  }

  /**
   * @param releaseDeadline how long a guest may take to let a device go
   */
  QemuHypervisor host(String name, Duration releaseDeadline) {
    Path run = directory.resolve(name);
    runDirectories.add(run);
    QemuHypervisor hypervisor = new QemuHypervisor(launcher, run, releaseDeadline, users);
    hypervisors.add(hypervisor);
    return hypervisor;
  }

  Path disk(String name, long size) throws IOException {
    Path file = directory.resolve(name);
    try (RandomAccessFile disk = new RandomAccessFile(file.toFile(), "rw")) {
      disk.setLength(size);
    }
    return file;
  }

  Path ledger() {
    return directory.resolve("ledger");
  }

  GuestSpec spec(UUID vm, Map<String, String> platform, Path... disks) {
    List<GuestSpec.Disk> list = new ArrayList<>();
    for (Path disk : disks) {
      String device = "xvd" + (char) ('a' + list.size());
      list.add(
          new GuestSpec.Disk(
              device, new UUID(vm.getMostSignificantBits(), list.size()), disk, "raw", false));
    }
    Map<String, String> all = new HashMap<>(platform);
    all.putIfAbsent("xenferry:ledger", ledger().toString());
    all.putIfAbsent("xenferry:accel", "tcg");
    return new GuestSpec(vm, "test", 64 << 20, 1, list, List.of(), all);
  }

  static void awaitState(Guest guest, Guest.State state) {
    await()
        .atMost(Duration.ofSeconds(30))
        .pollInterval(Duration.ofMillis(10))
        .ignoreExceptionsMatching(
            e -> e instanceof HypervisorException h && h.kind() == HypervisorException.Kind.TIMEOUT)
        .until(guest::state, state::equals);
  }

  @Override
  public void close() throws Exception {
    for (QemuHypervisor hypervisor : hypervisors) {
      hypervisor.close();
    }
    for (Path run : runDirectories) {
      try (QemuHypervisor last = new QemuHypervisor(launcher, run)) {
        for (Guest guest : last.guests()) {
          guest.destroy();
        }
      }
    }
    try (Stream<Path> all = Files.walk(directory)) {
      for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}
