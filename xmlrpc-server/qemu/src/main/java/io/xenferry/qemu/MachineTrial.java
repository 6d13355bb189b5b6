package io.xenferry.qemu;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether the installed QEMU can be a machine, processor and all: it is made so, without memory and
 * with few devices, and ends before its first instruction. Takes 0.1 s; what was found is not asked
 * again before the server is started anew, and neither is what could not be told in time.
 * Thread-safe.
 */
final class MachineTrial {
  private static final Logger log = LoggerFactory.getLogger(MachineTrial.class);
  private static final Duration DEADLINE = Duration.ofSeconds(5);
  private static final int REMEMBERED = 64;

  /** Bytes of QEMU's complaint, which names each feature that is missing in a line of its own. */
  private static final int ANSWER_LIMIT = 1 << 14;

  private static final String QUIT = "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}";

  private final Path program;
  private final Map<List<String>, Optional<String>> found =
      new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<List<String>, Optional<String>> eldest) {
          return size() > REMEMBERED;
        }
      };

  MachineTrial(Path program) {
    this.program = program;
  }

  /**
   * Why a guest that has run on such a machine elsewhere could not go on here.
   *
   * @param type a machine type
   * @param cpu a processor model with its features, each of which must be there if it has {@code
   *     enforce}
   * @param devices that not every QEMU has
   * @param accelerators in the order in which they are tried
   * @return in words; empty when it could, or when that cannot be told
   */
  synchronized Optional<String> refusal(
      String type, String cpu, List<String> devices, List<String> accelerators)
      throws InterruptedException {
    List<String> key =
        List.of(type, cpu, String.join(" ", devices), String.join(":", accelerators));
    Optional<String> known = found.get(key);
    if (known != null) {
      return known;
    }
    try {
      Optional<String> told = run(type, cpu, devices, accelerators);
      found.put(key, told);
      return told;
    } catch (IOException e) {
      log.warn("cannot try a machine with {}", program, e);
      return Optional.empty();
    }
  }

  /** Empty also when it did not answer in time. */
  private Optional<String> run(
      String type, String cpu, List<String> devices, List<String> accelerators)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(program.toString());
    for (String accelerator : accelerators) {
      command.addAll(List.of("-accel", accelerator));
    }
    command.addAll(
        List.of(
            "-machine",
            type,
            "-cpu",
            cpu,
            "-m",
            "16M",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-S",
            "-qmp",
            "stdio"));
    devices.forEach(device -> command.addAll(List.of("-device", device)));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    Thread watch = Thread.ofVirtual().name("machine-trial").start(() -> endInTime(process));
    try {
      try (OutputStream in = process.getOutputStream()) {
        in.write(QUIT.getBytes(StandardCharsets.US_ASCII));
      } catch (IOException e) {
        // It has ended already, and its words say why.
        log.debug("{} has ended early", program, e);
      }
      String words =
          new String(
              process.getInputStream().readNBytes(ANSWER_LIMIT), StandardCharsets.ISO_8859_1);
      if (!process.waitFor(DEADLINE.toMillis(), TimeUnit.MILLISECONDS)
          || process.exitValue() > Byte.MAX_VALUE) {
        log.warn("{} did not make a machine {} within {}", program, type, DEADLINE);
        return Optional.empty();
      }
      return process.exitValue() == 0
          ? Optional.empty()
          : Optional.of(type + " with processor " + cpu + ": " + complaint(words));
    } finally {
      process.destroyForcibly();
      watch.interrupt();
    }
  }

  private static void endInTime(Process process) {
    try {
      if (!process.waitFor(DEADLINE.toMillis(), TimeUnit.MILLISECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Its lines but for what QMP says, without the program's name. */
  private String complaint(String words) {
    String name = program.getFileName() + ": ";
    return words
        .lines()
        .filter(line -> !line.startsWith("{"))
        .map(line -> line.startsWith(name) ? line.substring(name.length()) : line)
        .map(line -> line.startsWith("warning: ") ? line.substring("warning: ".length()) : line)
        .distinct()
        .limit(REMEMBERED)
        .reduce((a, b) -> a + "; " + b)
        .orElse("QEMU cannot be such a machine");
  }
}
