package io.xenferry.bench.api;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A process of the bench's: a server that says when it is ready, or one that ends by itself. */
final class Program implements AutoCloseable {
  private static final Duration START = Duration.ofMinutes(2);

  private final Process process;
  private final String ready;

  private Program(Process process, String ready) {
    this.process = process;
    this.ready = ready;
  }

  private static List<String> java(List<String> options, String main, List<String> arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC"));
    command.addAll(options);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main));
    command.addAll(arguments);
    return command;
  }

  /** Starts a server, and waits for its line that begins with {@code ready}. */
  static Program server(List<String> options, String main, List<String> arguments)
      throws IOException, InterruptedException {
    Path log = Files.createTempFile("xenferry-bench", ".log");
    try {
      Process process =
          new ProcessBuilder(java(options, main, arguments))
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
      long end = System.nanoTime() + START.toNanos();
      while (true) {
        for (String line : Files.readAllLines(log, StandardCharsets.UTF_8)) {
          if (line.startsWith("ready ")) {
            return new Program(process, line);
          }
        }
        if (!process.isAlive() || System.nanoTime() - end > 0) {
          process.destroyForcibly();
          throw new IOException(main + " does not come up: " + Files.readString(log));
        }
        Thread.sleep(5);
      }
    } finally {
      // The process has it open.
      Files.delete(log);
    }
  }

  /** Runs to the end, and returns the numbers on its last line. */
  static double[] run(String main, List<String> arguments)
      throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(java(List.of(), main, arguments))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      String last = "";
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        last = line;
      }
      if (process.waitFor() != 0) {
        throw new IOException(main + ": " + last);
      }
      String[] words = last.split(" ", -1);
      double[] numbers = new double[words.length];
      for (int i = 0; i < words.length; i++) {
        numbers[i] = Double.parseDouble(words[i]);
      }
      return numbers;
    } finally {
      process.destroyForcibly();
    }
  }

  /** What it said when it was ready. */
  String ready() {
    return ready;
  }

  /** Memory of the process now, or at the most, in MB. */
  double memory(boolean most) throws IOException {
    String name = most ? "VmHWM:" : "VmRSS:";
    for (String line : Files.readAllLines(Path.of("/proc/" + process.pid() + "/status"))) {
      if (line.startsWith(name)) {
        return Long.parseLong(line.replaceAll("\\D", "")) * 1024 / 1e6;
      }
    }
    return Double.NaN;
  }

  @Override
  public void close() throws InterruptedException {
    process.destroy();
    if (!process.waitFor(30, TimeUnit.SECONDS)) {
      process.destroyForcibly();
    }
  }
}
