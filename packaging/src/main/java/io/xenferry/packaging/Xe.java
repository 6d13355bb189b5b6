package io.xenferry.packaging;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Runs the real {@code xe} as a process of its own, against one site. */
final class Xe {
  private static final Duration DEADLINE = Duration.ofMinutes(10);
  private static final String CLIENT = "io.xenferry.xe.client.Xe";

  private final Site site;
  private final boolean tls;

  private Xe(Site site, boolean tls) {
    this.site = site;
    this.tls = tls;
  }

  /** Over the Unix socket, as the local root. */
  static Xe local(Site site) {
    return new Xe(site, false);
  }

  /** Over TLS, with root's password. */
  static Xe overTls(Site site) {
    return new Xe(site, true);
  }

  /** What it wrote, and its exit code. */
  record Outcome(int exit, String out, String err) {
    /** The last line of standard output: the uuid that creating commands print. */
    String lastLine() {
      List<String> lines = out.strip().lines().toList();
      return lines.isEmpty() ? "" : lines.getLast().strip();
    }
  }

  /** Runs and expects success. */
  String run(String... arguments) throws IOException, InterruptedException {
    Outcome outcome = attempt(arguments);
    if (outcome.exit() != 0) {
      throw new IOException(
          "xe "
              + String.join(" ", arguments)
              + " ended with "
              + outcome.exit()
              + ":\n"
              + outcome.err()
              + outcome.out());
    }
    return outcome.lastLine();
  }

  Outcome attempt(String... arguments) throws IOException, InterruptedException {
    return start(arguments).await();
  }

  /** Starts without waiting. */
  Running start(String... arguments) throws IOException {
    List<String> command = new ArrayList<>(clientCommand());
    if (tls) {
      command.addAll(
          List.of(
              "-s",
              site.address(),
              "-p",
              Integer.toString(site.port()),
              "-u",
              "root",
              "-pw",
              site.rootPassword()));
    }
    command.addAll(List.of(arguments));
    Path out = Files.createTempFile("xe", ".out");
    Path err = Files.createTempFile("xe", ".err");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder.environment().put("XENFERRY_SOCKET", site.socket().toString());
    builder.environment().remove("XE_EXTRA_ARGS");
    return new Running(builder.start(), out, err);
  }

  /** A command on its way. */
  record Running(Process process, Path out, Path err) {
    Outcome await() throws IOException, InterruptedException {
      if (!process.waitFor(DEADLINE.toSeconds(), TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new IOException("xe did not end within " + DEADLINE);
      }
      Outcome outcome =
          new Outcome(
              process.exitValue(),
              Files.readString(out, StandardCharsets.UTF_8),
              Files.readString(err, StandardCharsets.UTF_8));
      Files.deleteIfExists(out);
      Files.deleteIfExists(err);
      return outcome;
    }
  }

  private static List<String> clientCommand() {
    List<String> jvm = new ArrayList<>(List.of("-XX:TieredStopAtLevel=1"));
    String lib = System.getProperty("xenferry.lib");
    if (lib != null) {
      Path cache = Path.of(lib).resolveSibling("xe.aot");
      if (Files.exists(cache)) {
        jvm.add("-XX:AOTCache=" + cache);
      }
    }
    List<String> command = new ArrayList<>(Jvm.command(jvm, CLIENT));
    if (lib != null) {
      // And without this option, which the client does not need.
      command.remove("--enable-native-access=ALL-UNNAMED");
      // The cache was made with the client's own jar as the whole class path.
      try (var jars = Files.newDirectoryStream(Path.of(lib), "xe-shim-*.jar")) {
        for (Path jar : jars) {
          command.set(command.indexOf("-cp") + 1, jar.toString());
        }
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }
    return command;
  }
}
