package io.xenferry.qemu;

import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A process on this host, of ours or not, that cannot be mistaken for a later one of the same id
 * (proc(5): the start time stands in {@code /proc/PID/stat}, field 22).
 */
final class GuestProcess {
  private static final Logger log = LoggerFactory.getLogger(GuestProcess.class);
  private static final Path PROC = Path.of("/proc");
  private static final long NANOS_PER_TICK = 10_000_000;
  private static final Duration POLL = Duration.ofMillis(20);

  private final long pid;
  private final String startTime;

  private GuestProcess(long pid, String startTime) {
    this.pid = pid;
    this.startTime = startTime;
  }

  long pid() {
    return pid;
  }

  /** The live process of that id now. */
  static Optional<GuestProcess> of(long pid) {
    return stat(pid).filter(stat -> !stat.dead()).map(s -> new GuestProcess(pid, s.startTime()));
  }

  /** The live process that was told to write its id to the file, by that id or else by search. */
  static Optional<GuestProcess> startedWith(Path pidFile) {
    return startedWith(pidFile, pidFile.toString());
  }

  /**
   * The same of one that was told so in other words.
   *
   * @param argument among those of its command line
   */
  static Optional<GuestProcess> startedWith(Path pidFile, String argument) {
    Optional<GuestProcess> known = Optional.empty();
    try {
      // A guest with a user of its own may put there what it likes, a pipe without an end too.
      if (Files.getAttribute(pidFile, "unix:uid", LinkOption.NOFOLLOW_LINKS).equals(ownUser())) {
        long pid = Long.parseLong(Files.readString(pidFile).trim());
        known = of(pid).filter(process -> process.hasArgument(argument));
      }
    } catch (IOException | NumberFormatException e) {
      log.debug("no process id in {}", pidFile);
    }
    // The server may have died between starting the guest and the guest's writing of its id.
    return known.isPresent() ? known : search(argument);
  }

  private static Object ownUser() throws IOException {
    return Files.getAttribute(PROC.resolve("self"), "unix:uid");
  }

  /** Whether it runs as that user: what its command line says a process may change itself. */
  boolean isOf(int uid) {
    try {
      return Files.getAttribute(PROC.resolve(Long.toString(pid)), "unix:uid").equals(uid);
    } catch (IOException e) {
      return false;
    }
  }

  private static Optional<GuestProcess> search(String argument) {
    try (Stream<Path> entries = Files.list(PROC)) {
      return entries
          .map(entry -> String.valueOf(entry.getFileName()))
          .filter(name -> name.chars().allMatch(Character::isDigit))
          .map(name -> of(Long.parseLong(name)))
          .flatMap(Optional::stream)
          .filter(process -> process.hasArgument(argument))
          .findFirst();
    } catch (IOException e) {
      log.warn("cannot list processes", e);
      return Optional.empty();
    }
  }

  private boolean hasArgument(String argument) {
    try {
      String line = Files.readString(PROC.resolve(pid + "/cmdline"), StandardCharsets.ISO_8859_1);
      String wanted =
          new String(argument.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
      for (String word : line.split("\0")) {
        if (word.equals(wanted)) {
          return true;
        }
      }
      return false;
    } catch (IOException e) {
      return false;
    }
  }

  boolean alive() {
    return stat(pid).map(s -> !s.dead() && s.startTime().equals(startTime)).orElse(false);
  }

  /** Since its start; very long where the kernel does not tell. */
  Duration age() {
    try {
      String uptime = Files.readString(PROC.resolve("uptime"), StandardCharsets.US_ASCII);
      long hundredths = Long.parseLong(uptime.substring(0, uptime.indexOf(' ')).replace(".", ""));
      return Duration.ofNanos((hundredths - Long.parseLong(startTime)) * NANOS_PER_TICK);
    } catch (IOException | RuntimeException e) {
      log.debug("the host does not tell how long it has been up", e);
      return Duration.ofNanos(Long.MAX_VALUE);
    }
  }

  /** Kills it, unless it is gone. */
  void kill() {
    if (alive()) {
      ProcessHandle.of(pid).ifPresent(ProcessHandle::destroyForcibly);
    }
  }

  void awaitEnd(Duration deadline) throws HypervisorException, InterruptedException {
    if (!endsWithin(deadline)) {
      throw new HypervisorException(
          Kind.TIMEOUT, "process " + pid + " did not end within " + deadline);
    }
  }

  boolean endsWithin(Duration deadline) throws InterruptedException {
    long end = System.nanoTime() + deadline.toNanos();
    while (alive()) {
      if (System.nanoTime() - end > 0) {
        return false;
      }
      Thread.sleep(POLL);
    }
    return true;
  }

  /** Whether it has a thread of that id. */
  boolean hasThread(long thread) {
    return thread > 0 && Files.isDirectory(PROC.resolve(pid + "/task/" + thread));
  }

  /** Its nice value, -20 to 19; that of its first thread. */
  int nice() throws HypervisorException {
    try {
      String line = Files.readString(PROC.resolve(pid + "/stat"), StandardCharsets.ISO_8859_1);
      return Integer.parseInt(line.substring(line.lastIndexOf(')') + 2).split(" ")[16]);
    } catch (IOException | IndexOutOfBoundsException | NumberFormatException e) {
      throw new HypervisorException(Kind.GONE, "the guest's process is gone", e);
    }
  }

  /**
   * Gives its session a nice value, where the kernel schedules sessions (sched(7), autogroups).
   * Where it does not, or refuses, that of the threads is all there is.
   */
  void niceSession(int nice) {
    try {
      Files.writeString(
          PROC.resolve(pid + "/autogroup"), Integer.toString(nice), StandardOpenOption.WRITE);
    } catch (IOException e) {
      log.debug("the session of process {} keeps its nice value: {}", pid, e.toString());
    }
  }

  /** Nanoseconds of processor time of all its threads; empty when it is gone. */
  OptionalLong processorTime() {
    return alive() ? processorTime(PROC.resolve(pid + "/stat")) : OptionalLong.empty();
  }

  /** The same of one thread; empty when the process has none of that id. */
  OptionalLong processorTime(long thread) {
    return processorTime(PROC.resolve(pid + "/task/" + thread + "/stat"));
  }

  /** proc(5): fields 14 and 15, in hundredths of a second whatever the kernel's own clock. */
  private static OptionalLong processorTime(Path file) {
    try {
      String line = Files.readString(file, StandardCharsets.ISO_8859_1);
      String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
      return OptionalLong.of(
          (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) * NANOS_PER_TICK);
    } catch (IOException | IndexOutOfBoundsException | NumberFormatException e) {
      return OptionalLong.empty();
    }
  }

  private record Stat(boolean dead, String startTime) {}

  private static Optional<Stat> stat(long pid) {
    try {
      String line = Files.readString(PROC.resolve(pid + "/stat"), StandardCharsets.ISO_8859_1);
      // The second field is the name in parentheses, which may itself hold any character.
      String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
      // The first thread may be a zombie while others still run, and hold the image's locks.
      boolean dead =
          fields[0].equals("X") || (fields[0].equals("Z") && Integer.parseInt(fields[17]) <= 1);
      return Optional.of(new Stat(dead, fields[19]));
    } catch (IOException | IndexOutOfBoundsException | NumberFormatException e) {
      return Optional.empty();
    }
  }
}
