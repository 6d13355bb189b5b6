package io.xenferry.bench.measure;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** How large the disks are, and where they lie. */
public final class Workspace {
  @Option(
      names = "--size",
      paramLabel = "SIZE",
      description = "Size of a disk, as in 512M or 2G (default: ${DEFAULT-VALUE} bytes).",
      converter = ByteCount.class)
  private long size;

  @Option(
      names = "--directory",
      paramLabel = "DIR",
      description =
          "Where the files go, a few times the size, best in memory (default: the directory of"
              + " temporary files).")
  private Optional<Path> directory = Optional.empty();

  /**
   * @param size in bytes unless told otherwise
   */
  public Workspace(long size) {
    this.size = size;
  }

  public long size() {
    return size;
  }

  /** A new directory; whoever asks for it deletes it, and who interrupts that has it deleted. */
  public Path create() throws IOException {
    Path created =
        directory.isPresent()
            ? Files.createTempDirectory(Files.createDirectories(directory.get()), "xenferry-bench")
            : Files.createTempDirectory("xenferry-bench");
    Runtime.getRuntime()
        .addShutdownHook(new Thread(() -> deleteIfThere(created), "delete " + created));
    return created;
  }

  private static void deleteIfThere(Path directory) {
    if (!Files.exists(directory)) {
      return;
    }
    try {
      Disks.deleteTree(directory);
    } catch (IOException | UncheckedIOException e) {
      System.err.println("left behind: " + directory + ": " + e.getMessage());
    }
  }
}
