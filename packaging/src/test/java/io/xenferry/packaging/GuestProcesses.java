package io.xenferry.packaging;

import static org.awaitility.Awaitility.await;

import java.io.File;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** The processes that run a server's guests; what watches over them is none. */
final class GuestProcesses {
  /** Bytes of a console, more than the echo of a line and what the guest says meanwhile. */
  private static final int ENOUGH = 2000;

  private GuestProcesses() {}

  /**
   * Those alive, as the guests' directories name them.
   *
   * @param state the server's state directory
   */
  static List<ProcessHandle> of(Path state) throws IOException {
    Path guests = state.resolve("guests");
    if (!Files.isDirectory(guests)) {
      return List.of();
    }
    List<Path> directories;
    try (Stream<Path> files = Files.list(guests)) {
      directories = files.toList();
    }
    List<ProcessHandle> found = new ArrayList<>();
    for (Path directory : directories) {
      Path note = directory.resolve("pid");
      String number = Files.exists(note) ? Files.readString(note).strip() : "";
      // A number that was left behind may be a stranger's by now.
      if (number.matches("[0-9]+")
          && commandLine(Path.of("/proc", number)).contains(directory.toString())) {
        ProcessHandle.of(Long.parseLong(number)).ifPresent(found::add);
      }
    }
    return found;
  }

  /** What they have logged and, of those that are a JVM, what their threads do. */
  static String describe(Path state) throws IOException, InterruptedException {
    StringBuilder text = new StringBuilder();
    for (ProcessHandle guest : of(state)) {
      text.append("\n--- guest ").append(guest.pid()).append('\n');
      Process dump =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "jcmd").toString(),
                  Long.toString(guest.pid()),
                  "Thread.print")
              .redirectErrorStream(true)
              .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
              .start();
      dump.onExit().orTimeout(20, TimeUnit.SECONDS).exceptionally(late -> dump.destroyForcibly());
      text.append(new String(dump.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
    }
    try (Stream<Path> logs = Files.find(state, 4, (path, kind) -> path.endsWith("guest.log"))) {
      for (Path log : logs.toList()) {
        text.append("\n--- ").append(log).append('\n').append(Files.readString(log));
      }
    }
    return text.toString();
  }

  /** SIGKILL to all of them, and waits until they are gone. */
  static void kill(Path state) throws IOException {
    List<ProcessHandle> all = of(state);
    all.forEach(ProcessHandle::destroyForcibly);
    // One whose parent does not ask for its end stays as a zombie, without a command line.
    await()
        .atMost(Duration.ofSeconds(60))
        .pollInterval(Duration.ofMillis(5))
        .until(() -> of(state).isEmpty());
  }

  /** Command lines of the living processes of a site's guests, and of what watches over them. */
  static List<String> commandLines(Site site) throws IOException {
    String directory = site.stateDirectory().resolve("guests").toString();
    List<String> found = new ArrayList<>();
    try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
      for (Path process : processes.filter(p -> p.resolve("cmdline").toFile().exists()).toList()) {
        if (process.getFileName().toString().matches("[0-9]+")) {
          String command = commandLine(process);
          if (command.contains(directory)) {
            found.add(process.getFileName() + " " + command.replace('\0', ' '));
          }
        }
      }
    }
    return found;
  }

  private static String commandLine(Path process) throws IOException {
    try {
      return Files.readString(process.resolve("cmdline"), StandardCharsets.ISO_8859_1);
    } catch (NoSuchFileException e) {
      return "";
    } catch (IOException e) {
      // ESRCH: it ended while it was read.
      if (Files.exists(process)) {
        throw e;
      }
      return "";
    }
  }

  /** Types a line on the console of a Linux guest, whose shell is root's. */
  static void type(Site site, String vm, String line) throws IOException {
    Path socket = site.stateDirectory().resolve("guests").resolve(vm).resolve("serial.sock");
    try (SocketChannel console = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      ByteBuffer bytes = ByteBuffer.wrap(("\n" + line + "\n").getBytes(StandardCharsets.UTF_8));
      while (bytes.hasRemaining()) {
        console.write(bytes);
      }
      // What the guest has not read when the connection ends is lost, hence the echo; its writer
      // may put a line of its own into the middle.
      ByteBuffer echo = ByteBuffer.allocate(4096);
      StringBuilder said = new StringBuilder();
      while (said.length() < ENOUGH
          && !said.toString().contains(line)
          && console.read(echo.clear()) >= 0) {
        said.append(StandardCharsets.ISO_8859_1.decode(echo.flip()));
      }
    }
  }
}
