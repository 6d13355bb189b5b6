package io.xenferry.packaging;

import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;

/**
 * Two pools on one machine: two servers with state, storage, certificates and loopback addresses of
 * their own, and a guest whose ledger lies outside both. Closing ends every process that it
 * started.
 */
final class Laboratory implements AutoCloseable {
  private static final String NETWORK_A = "127.23.1.";
  private static final String SERVER = "io.xenferry.server.ServerMain";

  /** Options of servers whose guests are simulated. */
  static final List<String> SIMULATED = List.of("--hypervisor", "simulated");

  private static final List<String> JVM_OPTIONS = List.of("-Xmx512m");
  private static final Duration VIEW_DEADLINE = Duration.ofSeconds(30);

  private final Path directory;
  private final PrintStream out;
  private final Site alpha;
  private final Site beta;
  private final AtomicBoolean closed = new AtomicBoolean();

  Laboratory(Path directory, List<String> serverOptions, PrintStream out) {
    this(directory, SERVER, serverOptions, out);
  }

  /**
   * @param program the main class of both servers
   */
  Laboratory(Path directory, String program, List<String> serverOptions, PrintStream out) {
    this(directory, program, serverOptions, out, loopback(0), loopback(1));
  }

  /**
   * @param alphas and betas: where their servers run
   */
  Laboratory(
      Path directory,
      String program,
      List<String> serverOptions,
      PrintStream out,
      Place alphas,
      Place betas) {
    this.directory = directory;
    this.out = out;
    alpha = site("alpha", directory, alphas, program, serverOptions);
    beta = site("beta", directory, betas, program, serverOptions);
  }

  /**
   * Where a server runs.
   *
   * @param address which it listens to
   * @param through a command that runs the server's own there; empty for here
   */
  record Place(String address, List<String> through) {}

  /** Another laboratory on this machine has another last byte; ports are chosen anyway. */
  private static Place loopback(int number) {
    int last = 2 + (int) (ProcessHandle.current().pid() % 120) * 2;
    return new Place(NETWORK_A + (last + number), List.of());
  }

  private static Site site(
      String name, Path directory, Place place, String program, List<String> options) {
    return new Site(
        name, directory, place.address(), JVM_OPTIONS, program, options, place.through());
  }

  Site alpha() {
    return alpha;
  }

  Site beta() {
    return beta;
  }

  /** What the guest notes of each acknowledged write. */
  Path ledger() {
    return directory.resolve("guest.ledger");
  }

  /** Starts both servers, at the same time. */
  void start() throws IOException, InterruptedException {
    beta.launch();
    alpha.launch();
    beta.awaitReady();
    alpha.awaitReady();
  }

  /** A VM of the laboratory: its disks in the order of their devices. */
  record Vm(String uuid, List<String> vdis, String vif) {}

  /** The image of a disk on a site. */
  Path image(Site site, String vdi) {
    return site.directory().resolve("sr").resolve(vdi + ".raw");
  }

  /** Finds the VM's disks on a site by their devices; uuids change when they move. */
  Vm find(Site site, String vm, int disks) throws IOException, InterruptedException {
    Xe xe = Xe.local(site);
    List<String> vdis = new ArrayList<>();
    for (int i = 0; i < disks; i++) {
      vdis.add(
          xe.run("vbd-list", "vm-uuid=" + vm, "userdevice=" + i, "params=vdi-uuid", "--minimal"));
    }
    return new Vm(vm, vdis, xe.run("vif-list", "vm-uuid=" + vm, "--minimal"));
  }

  /** Both servers run. */
  boolean isUp() {
    return alpha.isAlive() && beta.isAlive();
  }

  /** Whether a directory holds what a laboratory leaves there. */
  static boolean isOne(Path directory) {
    return sites(directory).stream().allMatch(site -> Files.isDirectory(site.stateDirectory()));
  }

  private static List<Site> sites(Path directory) {
    return List.of(
        site("alpha", directory, new Place("", List.of()), SERVER, List.of()),
        site("beta", directory, new Place("", List.of()), SERVER, List.of()));
  }

  /** Ends what another process of this program left running in a directory. */
  static void endIn(Path directory) throws IOException {
    List<Site> sites = sites(directory);
    for (Site site : sites) {
      site.endLeftServer();
    }
    endGuestsAndTargets(sites);
  }

  /** Guests, target daemons and servers that this laboratory started. */
  private void endProcesses() throws IOException {
    alpha.close();
    beta.close();
    endGuestsAndTargets(List.of(alpha, beta));
  }

  private static void endGuestsAndTargets(List<Site> sites) throws IOException {
    for (Site site : sites) {
      site.endTargets();
      endViews(site);
      Path guests = site.stateDirectory().resolve("guests");
      if (Files.isDirectory(guests)) {
        try (Stream<Path> files = Files.walk(guests)) {
          files.filter(f -> f.getFileName().toString().equals("pid")).forEach(Laboratory::end);
        }
      }
    }
  }

  private static void end(Path pidFile) {
    process(pidFile).ifPresent(ProcessHandle::destroyForcibly);
  }

  /**
   * What makes qcow2 images look like raw ones to a target, where a move was broken off. They are
   * asked to end, since one that is killed leaves its mount behind.
   */
  private static void endViews(Site site) throws IOException {
    if (!Files.isDirectory(site.directory())) {
      return;
    }
    List<Path> pidFiles;
    try (Stream<Path> files = Files.walk(site.directory(), 2)) {
      pidFiles = files.filter(f -> f.toString().endsWith(".view.pid")).toList();
    }
    for (Path pidFile : pidFiles) {
      Optional<ProcessHandle> view = process(pidFile);
      if (view.isPresent()) {
        view.get().destroy();
        try {
          view.get().onExit().get(VIEW_DEADLINE.toSeconds(), TimeUnit.SECONDS);
        } catch (TimeoutException | ExecutionException e) {
          throw new IOException("the view of " + pidFile + " does not end", e);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          return;
        }
      }
    }
  }

  /** The process that wrote the file, if it still runs. */
  private static Optional<ProcessHandle> process(Path pidFile) {
    try {
      long pid = Long.parseLong(Files.readString(pidFile).strip());
      // ProcessHandle cuts a long command line off, and the guest's class path is long.
      String command =
          Files.readString(
              Path.of("/proc", Long.toString(pid), "cmdline"), StandardCharsets.ISO_8859_1);
      return command.contains(pidFile.toString()) ? ProcessHandle.of(pid) : Optional.empty();
    } catch (IOException | NumberFormatException e) {
      // Gone already.
      return Optional.empty();
    }
  }

  /** Leaves everything running; the caller tells the user how to end it. */
  void leaveRunning() throws IOException {
    closed.set(true);
    out.println();
    for (Site site : List.of(alpha, beta)) {
      out.printf(
          "%s: server %d at %s, root's password %s, log %s%n",
          site.name(), site.pid(), site.hostAndPort(), site.rootPassword(), site.log());
    }
    out.printf("%nTo play with them:%n");
    for (Site site : List.of(alpha, beta)) {
      out.printf(
          "  ./xenferry xe -s %s -p %d -u root -pw %s vm-list%n",
          site.address(), site.port(), site.rootPassword());
    }
    out.printf("To end them, the guest too: ./xenferry demo --end %s%n", directory);
  }

  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      try {
        endProcesses();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
