package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A kernel and its modules.
 *
 * @param image bzImage
 * @param modules the directory {@code kernel} of its modules
 */
record LinuxKernel(Path image, Path modules) {
  private static final Pattern PACKAGE =
      Pattern.compile("linux-image-\\d[^ ]*-cloud-amd64", Pattern.MULTILINE);
  private static final Duration DOWNLOAD_DEADLINE = Duration.ofMinutes(5);

  /** That of Debian's cloud images: one that was fetched before, one installed, or a fresh one. */
  static LinuxKernel find(Path cache) throws IOException, InterruptedException {
    for (Path root : List.of(cache, Path.of("/"))) {
      Optional<LinuxKernel> there = in(root);
      if (there.isPresent()) {
        return there.get();
      }
    }
    fetch(cache);
    return in(cache).orElseThrow(() -> new IOException("no kernel in what apt-get fetched"));
  }

  private static Optional<LinuxKernel> in(Path root) throws IOException {
    Path boot = root.resolve("boot");
    if (!Files.isDirectory(boot)) {
      return Optional.empty();
    }
    try (Stream<Path> files = Files.list(boot)) {
      return files
          .filter(f -> f.getFileName().toString().matches("vmlinuz-.*-cloud-amd64"))
          .map(f ->
              new LinuxKernel(
                  f,
                  root.resolve("lib/modules")
                      .resolve(f.getFileName().toString().substring("vmlinuz-".length()))
                      .resolve("kernel")))
          .filter(k -> Files.isDirectory(k.modules()))
          .findAny();
    }
  }

  /** Unpacks Debian's package without installing it. */
  private static void fetch(Path cache) throws IOException, InterruptedException {
    String depends =
        Commands.run(List.of("apt-cache", "depends", "linux-image-cloud-amd64"), DOWNLOAD_DEADLINE);
    var matcher = PACKAGE.matcher(depends);
    if (!matcher.find()) {
      throw new IOException(
          "no Debian kernel is known here (package linux-image-cloud-amd64); try apt-get update");
    }
    Path directory = Files.createDirectories(cache);
    Commands.run(
        List.of("env", "--chdir=" + directory, "apt-get", "-q", "download", matcher.group()),
        DOWNLOAD_DEADLINE);
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.filter(f -> f.toString().endsWith(".deb")).toList()) {
        Commands.run(List.of("dpkg-deb", "--extract", file.toString(), directory.toString()));
        Files.delete(file);
      }
    }
  }
}
