package io.xenferry.server;

import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.server.config.IscsiConfig;
import io.xenferry.server.config.ListenConfig;
import io.xenferry.server.config.RemoteServersConfig;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.config.ToolstackConfig;
import io.xenferry.server.migration.Decorators;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Runs one server until SIGTERM or SIGINT. Several run on one machine with state directories and
 * addresses of their own.
 *
 * <p>Once it listens it prints one line, and writes the same into {@code ready} in its state
 * directory, which it removes when it ends in order:
 *
 * <pre>ready port=443 http-port=80 fingerprint=AB:CD:…</pre>
 */
@Command(
    name = "xenferry server",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    description = "A XenAPI server on this host.")
public final class ServerMain implements Callable<Integer> {

  @Option(
      names = "--state-dir",
      required = true,
      description =
          "Database, certificate, users; made at the first start, or empty before it, or of a"
              + " server before this one.")
  private Path stateDirectory = Path.of("");

  @Option(names = "--listen", description = "Address to listen on (default: 127.0.0.1).")
  private String listen = "127.0.0.1";

  @Option(names = "--port", description = "TLS port; 0 lets the system choose (default: 443).")
  private int port = 443;

  @Option(names = "--http-port", description = "Plain HTTP port; off unless given.")
  private @Nullable Integer httpPort;

  @Option(
      names = "--unix-socket",
      description = "Unix socket for root without a password; off unless given.")
  private @Nullable Path unixSocket;

  @Option(
      names = "--www",
      paramLabel = "DIR",
      description =
          "Directory of files for browsers, at / and for everybody who reaches the port, such as a web"
              + " client; none unless given.")
  private @Nullable Path files;

  @Option(
      names = "--hypervisor",
      description =
          "What guests run on: qemu, or simulated for trying XenFerry out: processes that only write"
              + " to their disks (default: ${DEFAULT-VALUE}).")
  private String hypervisor = "qemu";

  @Option(
      names = "--boot-dir",
      description =
          "Directory in which the kernels of VMs may lie (PV_kernel, PV_ramdisk), beside boot in"
              + " the state directory; repeatable (default: /boot).")
  private List<Path> bootDirectories = ToolstackConfig.defaults().bootDirectories();

  @Option(
      names = "--guest-user",
      description =
          "As whom the processes of VMs run: server (as this server), auto (where this server is"
              + " root each as a user of its own that no account has, else as this server),"
              + " FIRST-LAST (the same with users of that range), or the name of an account"
              + " (default: ${DEFAULT-VALUE}).")
  private String guestUser = ToolstackConfig.defaults().guestUser();

  @Option(
      names = "--target",
      description =
          "iSCSI target service: auto (tgtd where it is installed), tgtd or embedded (default:"
              + " auto).")
  private String target = "auto";

  @Option(
      names = "--iscsi-sessions",
      paramLabel = "NUMBER",
      description =
          "Sessions to each disk that this host sends over iSCSI, 1 to 16; more than one pays where"
              + " several links are joined by connection (default: ${DEFAULT-VALUE}).")
  private int iscsiSessions = IscsiConfig.defaults().sessions();

  @Option(
      names = "--iscsi-digests",
      description =
          "Guard what this host sends over iSCSI, and what it reads, by CRC32C digests of headers and"
              + " data; the other side must agree.")
  private boolean iscsiDigests;

  @Option(
      names = "--nbds-port",
      description =
          "Port at which disks that arrive over NBD with TLS are offered; 0 leaves it to the"
              + " system (default: ${DEFAULT-VALUE}).")
  private int nbdsPort;

  @Option(
      names = "--resume-window",
      paramLabel = "SECONDS",
      description =
          "How long the other server may be away, restarted for one, before a move that is not"
              + " decided yet is given up, 10 to 604800 (default: ${DEFAULT-VALUE}).")
  private long resumeWindow = ToolstackConfig.defaults().resumeWindow().toSeconds();

  @Option(
      names = "--strict-trust",
      description =
          "Refuse other servers whose certificate is not known, unless remote-fingerprint= names"
              + " it; otherwise it is trusted at first contact.")
  private boolean strictTrust;

  @Option(
      names = "--check-db",
      description =
          "Look through database and ledger of the state directory, say what is wrong with them, and"
              + " end; no server may use it meanwhile, and nothing is changed.")
  private boolean checkDb;

  /** Seconds: longer than the other server counts as present without an answer. */
  private static final long SHORTEST_WINDOW = 10;

  /** Seconds: a week. */
  private static final long LONGEST_WINDOW = 604_800;

  private final Decorators decorators;

  /**
   * @param decorators for those who watch what migrations do
   */
  public ServerMain(Decorators decorators) {
    this.decorators = decorators;
  }

  public static void main(String[] args) {
    System.exit(run(new ServerMain(Decorators.none()), args));
  }

  /** Runs a server until it is told to end; the exit status. */
  public static int run(ServerMain server, String... args) {
    // Another jar on the class path brings a logback.xml of its own: ours has a name of its own.
    if (System.getProperty("logback.configurationFile") == null) {
      System.setProperty("logback.configurationFile", "xenferry-logback.xml");
    }
    return new CommandLine(server)
        .setExecutionExceptionHandler((e, command, parsed) -> {
          LoggerFactory.getLogger(ServerMain.class).debug("the server ends", e);
          StringBuilder why = new StringBuilder("xenferry server: ").append(sentence(e));
          for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
            why.append(": ").append(sentence(cause));
          }
          System.err.println(why);
          return 1;
        })
        .execute(args);
  }

  /** The JDK's file exceptions say nothing but a path. */
  private static String sentence(Throwable e) {
    return e instanceof FileSystemException || e.getMessage() == null
        ? e.getClass().getSimpleName() + " " + e.getMessage()
        : e.getMessage();
  }

  /** The address of this host that is meant, checked before anything is made. */
  private static String address(String given) throws IOException {
    String plain = given.replaceAll("^\\[(.*)]$", "$1");
    InetAddress address;
    try {
      address = InetAddress.getByName(plain);
    } catch (UnknownHostException e) {
      throw new IOException("--listen: there is no address " + given, e);
    }
    if (plain.isBlank()
        || address.isMulticastAddress()
        || address.getHostAddress().equals("255.255.255.255")) {
      throw new IOException("--listen: not an address of one host: " + given);
    }
    return address instanceof Inet4Address ? address.getHostAddress() : plain;
  }

  private IscsiConfig iscsi() throws IOException {
    try {
      return new IscsiConfig(iscsiSessions, iscsiDigests);
    } catch (IllegalArgumentException e) {
      throw new IOException("--iscsi-sessions: " + e.getMessage(), e);
    }
  }

  private Optional<Path> files() throws IOException {
    if (files != null && !Files.isDirectory(files)) {
      throw new IOException("--www: " + files + " is no directory");
    }
    return Optional.ofNullable(files);
  }

  private Duration resumeWindow() throws IOException {
    if (resumeWindow < SHORTEST_WINDOW || resumeWindow > LONGEST_WINDOW) {
      throw new IOException(
          "--resume-window: not between "
              + SHORTEST_WINDOW
              + " and "
              + LONGEST_WINDOW
              + ": "
              + resumeWindow);
    }
    return Duration.ofSeconds(resumeWindow);
  }

  @Override
  public Integer call() throws IOException, XenApiException, InterruptedException {
    PrintWriter out = new PrintWriter(System.out, true, java.nio.charset.StandardCharsets.UTF_8);
    if (checkDb) {
      return check(out);
    }
    ServerConfig config =
        ServerConfig.defaults(stateDirectory)
            .with(
                new ListenConfig(
                    address(listen),
                    port,
                    httpPort == null ? OptionalInt.empty() : OptionalInt.of(httpPort),
                    Optional.ofNullable(unixSocket),
                    files()))
            .with(
                ToolstackConfig.defaults()
                    .withHypervisor(hypervisor())
                    .withTargets(targets())
                    .withBootDirectories(bootDirectories)
                    .withGuestUser(guestUser)
                    .withIscsi(iscsi())
                    .withNbdsPort(nbdsPort)
                    .withResumeWindow(resumeWindow()))
            .with(RemoteServersConfig.defaults().withStrictTrust(strictTrust));
    Umask.ownerOnly();
    StateDirectory.prepare(stateDirectory);
    StateDirectory.requireRoom(stateDirectory, StateDirectory.ROOM);
    Path ready = stateDirectory.resolve("ready");
    try (FileChannel lockFile =
            FileChannel.open(
                stateDirectory.resolve("lock"),
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE);
        FileLock lock = lockFile.tryLock()) {
      if (lock == null) {
        System.err.println("Another server runs on " + stateDirectory);
        return 1;
      }
      Files.deleteIfExists(ready);
      unpackLibrariesIn(stateDirectory.resolve("tmp"));
      ObjectDatabase db = SqliteDatabase.open(stateDirectory.resolve("pool.db"));
      CountDownLatch stop = new CountDownLatch(1);
      CountDownLatch stopped = new CountDownLatch(1);
      // The JVM exits when its hooks return: this one waits until all is closed in order.
      Runtime.getRuntime()
          .addShutdownHook(
              new Thread(
                  () -> {
                    stop.countDown();
                    try {
                      stopped.await();
                    } catch (InterruptedException e) {
                      Thread.currentThread().interrupt();
                    }
                  },
                  "stop"));
      try (XenFerryServer server = open(config, db)) {
        String line =
            "ready port="
                + server.port()
                + (server.httpPort().isPresent()
                    ? " http-port=" + server.httpPort().getAsInt()
                    : "")
                + " fingerprint="
                + server.fingerprint();
        Path temporary = stateDirectory.resolve("ready.new");
        Files.writeString(temporary, line + "\n");
        Files.move(temporary, ready, StandardCopyOption.ATOMIC_MOVE);
        out.println(line);
        server.warmUp();
        stop.await();
        Files.deleteIfExists(ready);
      } finally {
        stopped.countDown();
      }
    }
    return 0;
  }

  /** The exit status: 0 when nothing is wrong. */
  private int check(PrintWriter out) throws IOException {
    Path lockFile = stateDirectory.resolve("lock");
    // Not to be made here: it is there wherever a server has run.
    try (FileChannel channel = FileChannel.open(lockFile, StandardOpenOption.WRITE);
        FileLock lock = channel.tryLock()) {
      if (lock == null) {
        System.err.println("A server runs on " + stateDirectory);
        return 1;
      }
      List<String> faults = StateChecker.check(stateDirectory);
      faults.forEach(out::println);
      if (faults.isEmpty()) {
        out.println("nothing is wrong");
      }
      return faults.isEmpty() ? 0 : 1;
    }
  }

  /**
   * SQLite's driver unpacks its library at each start, and a killed server leaves it behind: here
   * its successor removes it.
   */
  private static void unpackLibrariesIn(Path directory) throws IOException {
    Files.createDirectories(directory);
    try (Stream<Path> leavings = Files.list(directory)) {
      for (Path file : leavings.toList()) {
        Files.delete(file);
      }
    }
    System.setProperty("org.sqlite.tmpdir", directory.toString());
  }

  private String hypervisor() {
    SortedSet<String> known = new TreeSet<>(Toolstack.hypervisors().keySet());
    if (!known.contains(hypervisor)) {
      throw new CommandLine.ParameterException(
          new CommandLine(this),
          "--hypervisor is " + String.join(" or ", known) + ", not " + hypervisor);
    }
    return hypervisor;
  }

  private ToolstackConfig.Targets targets() {
    try {
      return ToolstackConfig.Targets.valueOf(target.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(
          new CommandLine(this), "--target is auto, tgtd or embedded, not " + target, e);
    }
  }

  private XenFerryServer open(ServerConfig config, ObjectDatabase db)
      throws IOException, XenApiException, InterruptedException {
    try {
      return new XenFerryServer(config, db, Clock.systemUTC(), decorators);
    } catch (IOException | XenApiException | InterruptedException | RuntimeException e) {
      db.close();
      throw e;
    }
  }
}
