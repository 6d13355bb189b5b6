package io.xenferry.iscsi.tgt;

import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import java.io.File;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One tgtd of our own. It is a process apart, in a session of its own, that outlives us; which one
 * it is stands in a file of the state directory, so that the next server finds it again.
 */
final class TgtDaemon {
  private static final Logger log = LoggerFactory.getLogger(TgtDaemon.class);
  private static final String STATE = "tgtd.properties";

  /** tgtd starts 16 threads per unit by default; four keep a unit as busy as our clients do. */
  private static final String THREADS = "4";

  /**
   * For glibc: tgtd's buffers, one for each command, stay with the process, up to 128 MiB of them.
   * By default each is mapped and unmapped again, with a page fault for every 4 KiB of data.
   */
  private static final Map<String, String> MALLOC =
      Map.of(
          "MALLOC_MMAP_THRESHOLD_", Integer.toString(32 << 20),
          "MALLOC_TRIM_THRESHOLD_", Integer.toString(128 << 20));

  private static final Duration START_PATIENCE = Duration.ofSeconds(10);
  private static final int ATTEMPTS = 5;

  private final Path directory;
  private final InetAddress address;
  private final Duration timeout;

  /**
   * @param port where it listens
   * @param control its control number, tgtadm's -C
   */
  record Running(ProcessHandle process, int control, int port) {}

  TgtDaemon(Path directory, InetAddress address, Duration timeout) {
    this.directory = directory;
    this.address = address;
    this.timeout = timeout;
  }

  /** The daemon that an earlier server started, if it still is one. */
  Optional<Running> find() throws TargetException {
    Properties state = load();
    if (state.isEmpty()) {
      return Optional.empty();
    }
    try {
      long pid = Long.parseLong(state.getProperty("pid", "0"));
      int control = Integer.parseInt(state.getProperty("control", "0"));
      int port = Integer.parseInt(state.getProperty("port", "0"));
      String started = state.getProperty("started", "");
      return ProcessHandle.of(pid)
          .filter(ProcessHandle::isAlive)
          .filter(p -> !started.equals("?") && started(p).equals(started))
          .filter(p -> answers(control))
          .map(p -> new Running(p, control, port));
    } catch (NumberFormatException e) {
      throw new TargetException(Kind.FAILED, directory.resolve(STATE) + " is damaged", e);
    }
  }

  /**
   * Starts a daemon: on the port and control number of the last one if there was one, so that URLs
   * stay good.
   *
   * @param wished 0 for any free port
   */
  Running start(int wished) throws TargetException {
    Properties last = load();
    int port = wished != 0 ? wished : Integer.parseInt(last.getProperty("port", "0"));
    int control = Integer.parseInt(last.getProperty("control", "0"));
    TargetException failure = new TargetException(Kind.DOWN, "tgtd was not started");
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
      int onPort = port != 0 ? port : freePort();
      int onControl = control != 0 && attempt == 0 ? control : freeControl();
      try {
        return launch(onControl, onPort);
      } catch (TargetException e) {
        failure = e;
        log.info("tgtd on {}:{}: {}", address.getHostAddress(), onPort, e.getMessage());
      }
    }
    throw failure;
  }

  private Running launch(int control, int port) throws TargetException {
    String portals = portals(port);
    File output = directory.resolve("tgtd.log").toFile();
    ProcessBuilder builder =
        new ProcessBuilder(
                List.of(
                    "setsid",
                    "tgtd",
                    "-f",
                    "-C",
                    Integer.toString(control),
                    "--iscsi",
                    portals,
                    "-t",
                    THREADS))
            .redirectInput(new File("/dev/null"))
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(output));
    MALLOC.forEach(builder.environment()::putIfAbsent);
    Process process;
    try {
      process = builder.start();
    } catch (IOException e) {
      throw new TargetException(Kind.DOWN, "cannot start tgtd: " + e.getMessage(), e);
    }
    try {
      long deadline = System.nanoTime() + START_PATIENCE.toNanos();
      while (!answers(control) || !listens(port)) {
        if (process.waitFor(20, TimeUnit.MILLISECONDS)) {
          throw new TargetException(
              Kind.DOWN, "tgtd ended with " + process.exitValue() + "; see " + output);
        }
        if (System.nanoTime() - deadline > 0) {
          throw new TargetException(Kind.TIMEOUT, "tgtd does not answer");
        }
      }
      store(process.toHandle(), control, port);
      log.info("tgtd {} listens at {}", process.pid(), portals);
      return new Running(process.toHandle(), control, port);
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new TargetException(Kind.DOWN, "interrupted", e);
    } catch (TargetException e) {
      process.destroyForcibly();
      throw e;
    }
  }

  /** A portal on any address of IPv6 takes no caller of IPv4. */
  private String portals(int port) {
    String host = address.getHostAddress();
    String portal = "portal=" + (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
    return address instanceof Inet6Address && address.isAnyLocalAddress()
        ? portal + ",portal=0.0.0.0:" + port
        : portal;
  }

  private boolean answers(int control) {
    try {
      new TgtadmProgram(control, timeout).run("--mode", "system", "--op", "show");
      return true;
    } catch (TargetException e) {
      return false;
    }
  }

  private boolean listens(int port) {
    try (Socket socket = new Socket()) {
      // Any address is one to listen at, not one to connect to.
      InetAddress at = address.isAnyLocalAddress() ? InetAddress.getByName("127.0.0.1") : address;
      socket.connect(new InetSocketAddress(at, port), 1000);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  private int freePort() throws TargetException {
    try (ServerSocket socket = new ServerSocket(0, 1, address)) {
      return socket.getLocalPort();
    } catch (IOException e) {
      throw new TargetException(Kind.FAILED, "no free port on " + address, e);
    }
  }

  private static int freeControl() {
    while (true) {
      int control = ThreadLocalRandom.current().nextInt(100, 30_000);
      if (!Files.exists(Path.of("/var/run/tgtd/socket." + control))) {
        return control;
      }
    }
  }

  /**
   * What tells a process from every other that had or will have its number: the boot, and the clock
   * ticks since then (proc(5), stat, field 22). A date would not do: the kernel's idea of when it
   * was booted moves with the clock.
   */
  private static String started(ProcessHandle process) {
    try {
      String stat = Files.readString(Path.of("/proc", Long.toString(process.pid()), "stat"));
      String[] afterName = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
      String boot = Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
      return boot + " " + afterName[19];
    } catch (IOException | IndexOutOfBoundsException e) {
      log.debug("process {} is gone, or this is no Linux", process.pid(), e);
      return "?";
    }
  }

  private Properties load() throws TargetException {
    Properties state = new Properties();
    Path file = directory.resolve(STATE);
    try {
      if (Files.exists(file)) {
        state.load(new StringReader(Files.readString(file)));
      }
      return state;
    } catch (IOException | IllegalArgumentException e) {
      throw new TargetException(Kind.FAILED, "cannot read " + file, e);
    }
  }

  private void store(ProcessHandle process, int control, int port) throws TargetException {
    Properties state = new Properties();
    state.setProperty("pid", Long.toString(process.pid()));
    state.setProperty("started", started(process));
    state.setProperty("control", Integer.toString(control));
    state.setProperty("port", Integer.toString(port));
    Path aside = directory.resolve(STATE + ".new");
    try {
      StringWriter text = new StringWriter();
      state.store(text, null);
      Files.writeString(aside, text.toString());
      try (FileChannel channel = FileChannel.open(aside, StandardOpenOption.WRITE)) {
        channel.force(true);
      }
      Files.move(aside, directory.resolve(STATE), StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "cannot write " + aside, e);
    }
  }

  /** Ends a daemon that has no targets: SIGTERM is ignored, so it is told. */
  void stop(Running running) throws TargetException {
    new TgtadmProgram(running.control(), timeout).run("--mode", "system", "--op", "delete");
    try {
      running.process().onExit().get(START_PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
      Files.deleteIfExists(directory.resolve(STATE));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (java.util.concurrent.ExecutionException
        | java.util.concurrent.TimeoutException
        | IOException e) {
      throw new TargetException(Kind.TIMEOUT, "tgtd does not end", e);
    }
  }
}
