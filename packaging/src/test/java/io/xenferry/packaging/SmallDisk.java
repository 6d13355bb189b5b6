package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** A file system of its own, so small that it can be filled up. */
final class SmallDisk implements AutoCloseable {
  private final Path at;

  private SmallDisk(Path at) {
    this.at = at;
  }

  /**
   * Mounts one at a directory that is made; where the kernel refuses, the test is skipped, or
   * fails.
   */
  static SmallDisk at(Path directory, int mebibytes) throws IOException, InterruptedException {
    Files.createDirectories(directory);
    String refused =
        run("mount", "-t", "tmpfs", "-o", "size=" + mebibytes + "m", "none", directory.toString());
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(refused.isEmpty(), "no file system may be mounted here: " + refused);
    }
    assertThat(refused).as("mounting").isEmpty();
    return new SmallDisk(directory);
  }

  private Path filler() {
    return at.resolve("filler");
  }

  /** Leaves not a byte free. */
  void fill() throws IOException {
    for (int size : List.of(1 << 20, 4096, 1)) {
      byte[] some = new byte[size];
      Arrays.fill(some, (byte) 1);
      try (OutputStream out =
          Files.newOutputStream(
              filler(),
              java.nio.file.StandardOpenOption.CREATE,
              java.nio.file.StandardOpenOption.APPEND)) {
        while (true) {
          out.write(some);
        }
      } catch (IOException e) {
        assertThat(e).hasMessageContaining("No space left");
      }
    }
  }

  /** Frees what was filled. */
  void free() throws IOException {
    Files.deleteIfExists(filler());
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(new ArrayList<>(List.of(command))).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : said.strip() + " (it failed)";
  }

  @Override
  public void close() throws IOException {
    try {
      assertThat(run("umount", "--lazy", at.toString())).isEmpty();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
