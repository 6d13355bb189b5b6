package io.xenferry.qemu;

import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** The machine types of the installed QEMU; asked once. Thread-safe. */
final class MachineTypes {
  private static final Duration DEADLINE = Duration.ofSeconds(20);

  /** {@code q35 Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-7.2)}. */
  private static final Pattern NEWEST =
      Pattern.compile("^q35\\s.*\\(alias of (pc-q35-[0-9.]+)\\)", Pattern.MULTILINE);

  /** QEMU 7.2 prints 5 KiB. */
  private static final int ANSWER_LIMIT = 1 << 16;

  private final Path program;
  private @Nullable String newest;

  MachineTypes(Path program) {
    this.program = program;
  }

  /** What {@code q35} means in this version. */
  synchronized String newest() throws HypervisorException, InterruptedException {
    String known = newest;
    if (known == null) {
      Matcher found = NEWEST.matcher(list());
      if (!found.find()) {
        throw new HypervisorException(Kind.PROTOCOL, program + " has no machine type q35");
      }
      known = String.valueOf(found.group(1));
      newest = known;
    }
    return known;
  }

  private String list() throws HypervisorException, InterruptedException {
    try {
      Process process =
          new ProcessBuilder(program.toString(), "-machine", "help")
              .redirectInput(Path.of("/dev/null").toFile())
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      // Ends the read below as well.
      Thread.ofVirtual().name("machine-types").start(() -> endInTime(process));
      String answer =
          new String(
              process.getInputStream().readNBytes(ANSWER_LIMIT), StandardCharsets.ISO_8859_1);
      process.destroyForcibly();
      return answer;
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot ask " + program, e);
    }
  }

  private static void endInTime(Process process) {
    try {
      if (!process.waitFor(DEADLINE.toMillis(), TimeUnit.MILLISECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
