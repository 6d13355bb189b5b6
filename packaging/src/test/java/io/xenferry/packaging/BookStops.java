package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/**
 * Stops a server, as SIGSTOP does, whenever it begins to write a file anew that it replaces as a
 * whole, and when it has replaced it. While it is stopped others may die.
 */
final class BookStops implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(120);
  private static final String STOP = "--- SIGSTOP";

  private final long server;
  private final Path file;
  private final Path next;
  private final Path said;
  private final Process strace;
  private int seen;

  private BookStops(Site site, Path file) throws IOException {
    this.server = site.pid();
    this.file = file;
    this.next = file.resolveSibling(file.getFileName() + ".new");
    this.said = Files.createTempFile("xf", ".strace");
    this.strace =
        new ProcessBuilder(
                "strace",
                "-f",
                "-e",
                "trace=openat,fsync",
                "-e",
                "inject=openat,fsync:signal=SIGSTOP",
                "-P",
                next.toString(),
                "-P",
                String.valueOf(file.getParent()),
                "-p",
                Long.toString(server))
            .redirectErrorStream(true)
            .redirectOutput(said.toFile())
            .start();
  }

  /** Begins; where strace is missing the test is skipped, or fails. */
  static BookStops of(Site site, Path file) throws IOException {
    boolean present =
        Files.isExecutable(Path.of("/usr/bin/strace"))
            || Files.isExecutable(Path.of("/bin/strace"));
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(present, "strace is not installed");
    }
    assertThat(present).as("strace is installed").isTrue();
    BookStops stops = new BookStops(site, file);
    try {
      await()
          .atMost(PATIENCE)
          .until(() -> {
            assertThat(stops.strace.isAlive()).as(Files.readString(stops.said)).isTrue();
            return Files.readString(stops.said).contains("attached");
          });
      return stops;
    } catch (RuntimeException | AssertionError e) {
      stops.close();
      throw e;
    }
  }

  /**
   * Lets the server go on until it stands where the file says something.
   *
   * @param before whether it is about to replace what it says; else it has just written it
   */
  void awaitText(String text, boolean before) throws IOException, InterruptedException {
    while (true) {
      Awaiting.until(PATIENCE, () -> stops() > seen && stands());
      seen = stops();
      if (content().contains(text) && Files.exists(next) == before) {
        return;
      }
      signal("CONT");
    }
  }

  private static final class Awaiting {
    static void until(Duration limit, java.util.concurrent.Callable<Boolean> condition) {
      org.awaitility.Awaitility.await()
          .atMost(limit)
          .pollDelay(Duration.ZERO)
          .pollInterval(Duration.ofMillis(5))
          .until(condition);
    }
  }

  private String content() throws IOException {
    try {
      return Files.readString(file);
    } catch (NoSuchFileException e) {
      return "";
    }
  }

  private int stops() throws IOException {
    return (int) Files.readAllLines(said).stream().filter(line -> line.contains(STOP)).count();
  }

  /** Whether none of its threads runs. */
  private boolean stands() throws IOException {
    List<Path> threads;
    try (Stream<Path> all = Files.list(Path.of("/proc", Long.toString(server), "task"))) {
      threads = all.toList();
    }
    for (Path thread : threads) {
      String stat;
      try {
        stat = Files.readString(thread.resolve("stat"));
      } catch (IOException e) {
        return false; // it has just ended
      }
      char state = Character.toLowerCase(stat.charAt(stat.lastIndexOf(')') + 2));
      if (state != 't') {
        return false;
      }
    }
    return true;
  }

  private void signal(String name) throws IOException, InterruptedException {
    new ProcessBuilder("kill", "-" + name, Long.toString(server)).start().waitFor();
  }

  /** The server, if it is still there, goes on. */
  @Override
  public void close() throws IOException {
    strace.destroy();
    try {
      assertThat(strace.waitFor(60, TimeUnit.SECONDS)).as("strace ends").isTrue();
      signal("CONT");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Files.deleteIfExists(said);
  }
}
