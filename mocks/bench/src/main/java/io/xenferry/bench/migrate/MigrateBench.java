package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import io.xenferry.bench.command.Tools;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Moves a Linux guest from one host to another, by XenFerry, by libvirt and by QEMU alone, in turn.
 *
 * <p>Both hosts are on this machine, in network namespaces of their own, joined by a pair of
 * virtual Ethernet devices that count what is sent. The guest writes to its disk at a given rate
 * and says on a serial port, each 10 ms, that it lives, and four times a second how long its writes
 * took. Each move is of a fresh guest with a fresh disk; afterwards the guest compares all that it
 * wrote, and this program all that it did not: a move that lost something gives no figures.
 */
@Command(
    name = "migrate",
    description =
        "Moves a running Linux guest with its disk: XenFerry against libvirt and QEMU alone.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
public final class MigrateBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;
  private static final Duration BEFORE = Duration.ofSeconds(3);
  private static final long DISK_SIZE = 1L << 30;
  private static final long ALLOCATED = 400L << 20;

  /** Who competes against XenFerry. */
  enum Peer {
    libvirt,
    qmp
  }

  @Option(
      names = "--rounds",
      description = "Moves by each at each rate (default: ${DEFAULT-VALUE}).",
      defaultValue = "5")
  private int rounds = 5;

  @Option(
      names = "--warm-up",
      description =
          "Moves by each strategy beforehand that do not count, since a JVM is slow before it has"
              + " compiled what runs often (default: ${DEFAULT-VALUE}).",
      defaultValue = "1")
  private int warmUp = 1;

  @Option(
      names = "--rates",
      split = ",",
      converter = Rate.Converter.class,
      description =
          "What the guest writes: idle, megabytes a second, or max for as much as the disk takes"
              + " (default: ${DEFAULT-VALUE}).",
      defaultValue = "idle,5,20,max")
  private List<Rate> rates = new ArrayList<>();

  @Option(
      names = "--peers",
      split = ",",
      description = "Against whom: libvirt, qmp (QEMU alone); or none (default: ${DEFAULT-VALUE}).",
      defaultValue = "libvirt,qmp")
  private List<String> peers = new ArrayList<>();

  @Option(
      names = "--strategies",
      split = ",",
      description = "XenFerry's strategies that compete, or none (default: ${DEFAULT-VALUE}).",
      defaultValue = "auto,mirror,log-dirty")
  private List<String> strategies = new ArrayList<>();

  @Option(
      names = "--limit",
      description =
          "Seconds after which a move is given up as not converging (default: ${DEFAULT-VALUE}).",
      defaultValue = "60")
  private int limit = 60;

  @Option(
      names = "--cancels",
      paramLabel = "N",
      description =
          "Instead of all that: cancels N moves by each strategy at each rate, at random moments,"
              + " and tells how long it takes until neither server has anything of them left.")
  private int cancels;

  @Option(names = "--csv", description = "Writes every move to this file.")
  private Optional<Path> csv = Optional.empty();

  @Option(names = "--phases", description = "Tells where the time of XenFerry's moves went.")
  private boolean phases;

  @Option(
      names = "--svg",
      description = "Writes charts of the medians over the rates into this directory.")
  private Optional<Path> svg = Optional.empty();

  @Option(
      names = "--directory",
      description = "Where disks go; 5 GiB, best in memory (default: ${DEFAULT-VALUE}).",
      defaultValue = "/dev/shm")
  private Path directory = Path.of("/dev/shm");

  /** What was started, the latest first: closed in this order. */
  private final Deque<AutoCloseable> open = new ArrayDeque<>();

  private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  @Override
  public Integer call() throws Exception {
    Optional<String> obstacle = obstacle();
    if (obstacle.isPresent()) {
      System.err.println(obstacle.get());
      return CANNOT_RUN;
    }
    Path base = Files.createTempDirectory(Files.createDirectories(directory), "xfb").toRealPath();
    Thread worker = Thread.currentThread();
    CountDownLatch cleanedUp = new CountDownLatch(1);
    Thread interrupted = new Thread(() -> stop(worker, cleanedUp), "bench-stop");
    Runtime.getRuntime().addShutdownHook(interrupted);
    try {
      measure(base);
      return 0;
    } catch (IOException e) {
      System.err.println("xenferry bench: " + e.getMessage());
      return 1;
    } catch (InterruptedException e) {
      System.err.println("xenferry bench: interrupted");
      return 1;
    } finally {
      closeAll();
      removeAll(base);
      cleanedUp.countDown();
      try {
        Runtime.getRuntime().removeShutdownHook(interrupted);
      } catch (IllegalStateException e) {
        // The hook is what interrupted us, and waits no longer.
        Thread.interrupted();
      }
    }
  }

  /**
   * On Ctrl-C: the worker closes everything, while the JVM waits for this hook. It waits for that
   * and not for the worker's end: the worker's own exit waits for the hooks.
   */
  private static void stop(Thread worker, CountDownLatch cleanedUp) {
    worker.interrupt();
    try {
      if (!cleanedUp.await(Commands.DEADLINE.toSeconds(), TimeUnit.SECONDS)) {
        System.err.println("xenferry bench: the clean-up did not end");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private Optional<String> obstacle() {
    peers.remove("none");
    strategies.remove("none");
    if (rounds < 1 || warmUp < 0 || limit < 1 || cancels < 0) {
      return Optional.of("at least one round, and one second");
    }
    List<String> missing =
        Stream.of("qemu-system-x86_64", "ip", "unshare", "nsenter", "setsid", "gcc", "cp")
            .filter(tool -> !Tools.installed(tool))
            .toList();
    if (!missing.isEmpty()) {
      return Optional.of(
          "cannot run without "
              + String.join(", ", missing)
              + " (Debian: apt-get install qemu-system-x86 iproute2 util-linux gcc libc6-dev)");
    }
    return System.getProperty("user.name").equals("root")
        ? Optional.empty()
        : Optional.of("network namespaces need root");
  }

  private void measure(Path base) throws IOException, InterruptedException {
    out.println("Building the guest…");
    GuestImage image = GuestImage.build(base, cache(), DISK_SIZE, ALLOCATED);
    Network network = keep(Network.create());
    List<XenFerry> ours = strategies.isEmpty() ? List.of() : ours(base, network, image);
    if (cancels > 0) {
      for (Rate rate : rates) {
        for (XenFerry mover : ours) {
          new Cancels(mover, image, rate, Duration.ofSeconds(limit), out).measure(cancels);
        }
      }
      return;
    }
    List<Contender> contenders = new ArrayList<>(ours);
    List<String> our = contenders.stream().map(Contender::name).toList();
    contenders.addAll(peers(base, network));
    List<String> names = contenders.stream().map(Contender::name).toList();
    if (contenders.isEmpty()) {
      throw new IOException("nobody is left to compete");
    }
    Report report = new Report(out);
    List<Run> runs = new ArrayList<>();
    Rate first = rates.getFirst();
    for (int i = 0; i < warmUp; i++) {
      // Only ours compiles its code while it runs.
      for (Contender contender : contenders.stream().filter(c -> our.contains(c.name())).toList()) {
        report.run(move(contender, image, network, first), "warm-up");
      }
    }
    for (Rate rate : rates) {
      for (int round = 1; round <= rounds; round++) {
        // Each round begins with another, so that nobody always follows the same one.
        Collections.rotate(contenders, 1);
        for (Contender contender : contenders) {
          Run run = move(contender, image, network, rate);
          runs.add(run);
          if (csv.isPresent()) {
            // Each time, so that a run that is interrupted has not been for nothing.
            Files.write(csv.get(), Report.csv(runs));
          }
          report.run(run, "round " + round);
        }
      }
    }
    for (Rate rate : rates) {
      report.table(rate, names.stream().map(name -> Summary.of(name, rate, runs)).toList());
    }
    out.println();
    for (Rate rate : rates) {
      List<Summary> peers =
          names.stream()
              .filter(name -> !our.contains(name))
              .map(name -> Summary.of(name, rate, runs))
              .toList();
      report.ratios(rate, our.stream().map(name -> Summary.of(name, rate, runs)).toList(), peers);
    }
    if (svg.isPresent()) {
      new Charts(rates, names, runs).write(svg.get());
    }
  }

  private Run move(Contender contender, GuestImage image, Network network, Rate rate)
      throws InterruptedException {
    return Run.of(contender, image, network, rate, BEFORE, Duration.ofSeconds(limit));
  }

  private static Path cache() {
    return Path.of(System.getProperty("xenferry.home", ".")).resolve("packaging/target/kernel");
  }

  private List<XenFerry> ours(Path base, Network network, GuestImage image)
      throws IOException, InterruptedException {
    Path boot = Objects.requireNonNull(image.kernel().toAbsolutePath().getParent());
    XenFerryHost source = keep(new XenFerryHost(Side.SOURCE, network, base.resolve("a"), boot));
    XenFerryHost there = keep(new XenFerryHost(Side.DESTINATION, network, base.resolve("b"), boot));
    there.launch();
    source.launch();
    there.awaitReady();
    source.awaitReady();
    return strategies.stream()
        .map(strategy -> new XenFerry(strategy, phases, source, there))
        .toList();
  }

  private List<Contender> peers(Path base, Network network)
      throws IOException, InterruptedException {
    List<Contender> found = new ArrayList<>();
    if (peers.contains("libvirt")) {
      if (!Tools.installed("libvirtd") || !Tools.installed("virsh")) {
        out.println(
            "libvirt is not installed, and left out (Debian: apt-get install libvirt-daemon"
                + " libvirt-daemon-driver-qemu libvirt-clients)");
      } else {
        LibvirtHost source = keep(new LibvirtHost(Side.SOURCE, network, base.resolve("lv-s")));
        LibvirtHost there = keep(new LibvirtHost(Side.DESTINATION, network, base.resolve("lv-d")));
        source.start();
        there.start();
        found.add(new Libvirt("libvirt bg", false, source, there));
        found.add(new Libvirt("libvirt sync", true, source, there));
      }
    }
    if (peers.contains("qmp")) {
      found.add(new BareQemu("qmp bg", "background", network, base.resolve("qmp")));
      found.add(new BareQemu("qmp wb", "write-blocking", network, base.resolve("qmp")));
    }
    return found;
  }

  private <T extends AutoCloseable> T keep(T resource) {
    open.push(resource);
    return resource;
  }

  private void closeAll() {
    // What is closed waits for processes, which an interrupt that is still pending would cut short.
    boolean interrupted = Thread.interrupted();
    closeEach();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void closeEach() {
    while (!open.isEmpty()) {
      try {
        open.pop().close();
      } catch (Exception e) {
        System.err.println("xenferry bench: not wholly cleaned up: " + e);
      }
    }
  }

  private static void removeAll(Path base) {
    try (Stream<Path> files = Files.walk(base)) {
      for (Path file : files.sorted(Collections.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      System.err.println("xenferry bench: " + base + " is not wholly removed: " + e);
    }
  }
}
