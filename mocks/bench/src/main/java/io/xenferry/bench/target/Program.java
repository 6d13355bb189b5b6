package io.xenferry.bench.target;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;

/** A client in a process of its own, which may hang or crash. */
final class Program {
  private static final int MAX_OUTPUT = 1 << 20;

  private Program() {}

  /**
   * How it ended.
   *
   * @param status empty when it did not end in time and was killed
   * @param output of both its streams, the first megabyte
   */
  record Ended(OptionalInt status, String output) {}

  static Ended run(Duration deadline, List<String> command)
      throws IOException, InterruptedException {
    Path output = Files.createTempFile("xenferry-bench", ".out");
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectErrorStream(true)
              .redirectOutput(output.toFile())
              .start();
      OptionalInt status = OptionalInt.empty();
      try {
        if (process.waitFor(deadline.toMillis(), TimeUnit.MILLISECONDS)) {
          status = OptionalInt.of(process.exitValue());
        }
      } finally {
        process.destroyForcibly().waitFor();
      }
      try (InputStream in = Files.newInputStream(output)) {
        return new Ended(status, new String(in.readNBytes(MAX_OUTPUT), StandardCharsets.UTF_8));
      }
    } finally {
      Files.deleteIfExists(output);
    }
  }
}
