package io.xenferry.bench.migrate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** Programs that are run to their end. */
final class Commands {
  static final Duration DEADLINE = Duration.ofSeconds(60);

  private Commands() {}

  /** A program did not end in time, and was killed. */
  static final class Overdue extends IOException {
    private static final long serialVersionUID = 1;

    Overdue(String message) {
      super(message);
    }
  }

  /** Whether a program is there; daemons are often beyond a user's path. */
  static boolean installed(String program) {
    String path = Optional.ofNullable(System.getenv("PATH")).orElse("");
    return Arrays.stream((path + ":/usr/sbin:/sbin").split(":", -1))
        .anyMatch(d -> !d.isEmpty() && Files.isExecutable(Path.of(d, program)));
  }

  /** Runs and returns what it printed. */
  static String run(List<String> command) throws IOException, InterruptedException {
    return run(command, DEADLINE);
  }

  static String run(List<String> command, Duration deadline)
      throws IOException, InterruptedException {
    return run(command, Map.of(), deadline);
  }

  static String run(List<String> command, Map<String, String> environment, Duration deadline)
      throws IOException, InterruptedException {
    Path output = Files.createTempFile("xenferry-bench", ".out");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
            .redirectErrorStream(true)
            .redirectOutput(output.toFile());
    builder.environment().putAll(environment);
    try {
      Process process = builder.start();
      try {
        if (!process.waitFor(deadline.toMillis(), TimeUnit.MILLISECONDS)) {
          throw new Overdue(
              command.getFirst() + " did not end within " + deadline.toSeconds() + " s");
        }
        String text = Files.readString(output, StandardCharsets.UTF_8).strip();
        if (process.exitValue() != 0) {
          throw new IOException(
              String.join(" ", command) + " ended with " + process.exitValue() + ": " + text);
        }
        return text;
      } finally {
        process.destroyForcibly();
      }
    } finally {
      Files.deleteIfExists(output);
    }
  }

  static List<String> concat(List<String> first, String... more) {
    List<String> all = new ArrayList<>(first);
    all.addAll(List.of(more));
    return all;
  }

  static List<String> concat(List<String> first, List<String> more) {
    List<String> all = new ArrayList<>(first);
    all.addAll(more);
    return all;
  }
}
