package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A libvirt daemon with a host's worth of directories to itself: it runs in a network namespace and
 * in mount and host name namespaces of its own, so that several can be on one machine. Its QEMUs
 * run as root, without sandbox or cgroups.
 */
final class LibvirtHost implements AutoCloseable {
  /** Where {@link #guestDirectory} is for the daemon: the same on both hosts. */
  static final Path GUESTS = Path.of("/run/xenferry-bench");

  private static final int ID = 64055;

  /** Arguments: the directory of this host, its name. The mounts vanish with the last process. */
  private static final String SCRIPT =
      """
      set -eu
      hostname "$2"
      for d in lib cache log; do
        mkdir -p "/var/$d/libvirt"
        mount --bind "$1/$d" "/var/$d/libvirt"
      done
      mkdir -p /etc/libvirt /run/libvirt /run/xenferry-bench
      mount --bind "$1/etc" /etc/libvirt
      mount --bind "$1/run" /run/libvirt
      mount --bind "$1/guests" /run/xenferry-bench
      # The package that makes this user starts daemons, too, and is not needed for anything else.
      if [ -f "$1/passwd" ]; then
        mount --bind "$1/passwd" /etc/passwd
        mount --bind "$1/group" /etc/group
      fi
      exec libvirtd --listen --pid-file "$1/run/bench.pid"
      """;

  private final Side side;
  private final Network network;
  private final Path directory;
  private Optional<Process> daemon = Optional.empty();

  LibvirtHost(Side side, Network network, Path directory) {
    this.side = side;
    this.network = network;
    this.directory = directory;
  }

  /** Where disks and sockets of its guests are, seen from here. */
  Path guestDirectory() {
    return directory.resolve("guests");
  }

  /** The daemon, as another daemon reaches it. */
  String uri() {
    return "qemu+tcp://" + network.address(side) + "/system";
  }

  String address() {
    return network.address(side);
  }

  void start() throws IOException, InterruptedException {
    for (String name : List.of("etc", "lib", "cache", "log", "run", "guests")) {
      Files.createDirectories(directory.resolve(name));
    }
    Files.writeString(
        directory.resolve("etc/libvirtd.conf"),
        """
        listen_tcp = 1
        listen_tls = 0
        auth_tcp = "none"
        auth_unix_rw = "none"
        log_level = 3
        host_uuid = "%s"
        """
            .formatted(UUID.nameUUIDFromBytes(side.word().getBytes(StandardCharsets.UTF_8))));
    Files.writeString(
        directory.resolve("etc/qemu.conf"),
        """
        user = "root"
        group = "root"
        dynamic_ownership = 0
        remember_owner = 0
        security_driver = "none"
        namespaces = []
        cgroup_controllers = []
        stdio_handler = "file"
        migration_host = "%s"
        """
            .formatted(network.address(side)));
    provideUser("passwd", "libvirt-qemu:x:%d:%d::/var/lib/libvirt:/usr/sbin/nologin%n");
    provideUser("group", "libvirt-qemu:x:%d:%n");
    Path script = directory.resolve("start.sh");
    Files.writeString(script, SCRIPT);
    Path log = directory.resolve("libvirtd.log");
    Process process =
        new ProcessBuilder(
                network.in(
                    side,
                    List.of(
                        "setsid",
                        "unshare",
                        "--mount",
                        "--uts",
                        "sh",
                        script.toString(),
                        directory.toString(),
                        "xenferry-bench-" + side.word())))
            .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    daemon = Optional.of(process);
    awaitReady(process, log);
  }

  private void provideUser(String file, String line) throws IOException {
    String text = Files.readString(Path.of("/etc", file));
    if (!text.contains("libvirt-qemu:")) {
      Files.writeString(directory.resolve(file), text + line.formatted(ID, ID));
    }
  }

  private void awaitReady(Process process, Path log) throws IOException, InterruptedException {
    long end = System.nanoTime() + Commands.DEADLINE.toNanos();
    while (true) {
      try {
        virsh(Commands.DEADLINE, "version");
        return;
      } catch (IOException e) {
        if (!process.isAlive() || System.nanoTime() > end) {
          throw new IOException(
              "libvirtd does not come up: " + e.getMessage() + "\n" + Files.readString(log), e);
        }
        Thread.sleep(100);
      }
    }
  }

  private long pid() throws IOException {
    return daemon.orElseThrow(() -> new IOException("libvirtd was not started")).pid();
  }

  String virsh(Duration limit, String... arguments) throws IOException, InterruptedException {
    List<String> command =
        List.of(
            "nsenter",
            "--target",
            Long.toString(pid()),
            "--mount",
            "--net",
            "--uts",
            "virsh",
            "--quiet",
            "--connect",
            "qemu:///system");
    return Commands.run(Commands.concat(command, arguments), limit);
  }

  /** Ends guests by the pids that the daemon noted, then the daemon. */
  @Override
  public void close() throws IOException, InterruptedException {
    Path qemus = directory.resolve("run/qemu");
    if (Files.isDirectory(qemus)) {
      try (Stream<Path> files = Files.list(qemus)) {
        for (Path file : files.filter(f -> f.toString().endsWith(".pid")).toList()) {
          ProcessHandle.of(Long.parseLong(Files.readString(file).strip()))
              .filter(p -> p.info().command().orElse("").contains("qemu"))
              .ifPresent(ProcessHandle::destroyForcibly);
        }
      }
    }
    if (daemon.isPresent()) {
      daemon.get().destroy();
      if (!daemon.get().waitFor(10, TimeUnit.SECONDS)) {
        daemon.get().destroyForcibly().waitFor(10, TimeUnit.SECONDS);
      }
    }
    if (Files.isDirectory(GUESTS)) {
      try (Stream<Path> files = Files.list(GUESTS)) {
        if (files.findAny().isEmpty()) {
          Files.deleteIfExists(GUESTS);
        }
      }
    }
  }
}
