package io.xenferry.bench.command;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Programs that are run to their end. */
public final class Commands {
  public static final Duration DEADLINE = Duration.ofSeconds(60);

  private Commands() {}

  /** A program did not end in time, and was killed. */
  public static final class Overdue extends IOException {
    private static final long serialVersionUID = 1;

    public Overdue(String message) {
      super(message);
    }
  }

  /**
   * Runs and returns what it printed.
   *
   * @throws Overdue when it took longer than {@link #DEADLINE}
   * @throws IOException when it could not be run, or failed; with what it printed
   */
  public static String run(List<String> command) throws IOException, InterruptedException {
    return run(command, DEADLINE);
  }

  public static String run(List<String> command, Duration deadline)
      throws IOException, InterruptedException {
    return run(command, Map.of(), deadline);
  }

  public static String run(List<String> command, Map<String, String> environment, Duration deadline)
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

  public static List<String> concat(List<String> first, String... more) {
    List<String> all = new ArrayList<>(first);
    all.addAll(List.of(more));
    return all;
  }

  public static List<String> concat(List<String> first, List<String> more) {
    List<String> all = new ArrayList<>(first);
    all.addAll(more);
    return all;
  }
}
