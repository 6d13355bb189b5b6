package io.xenferry.qemu;

import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the guests' directories lie. A Unix socket's path is short by law of the kernel; where this
 * directory's is too long, its sockets are reached through a symbolic link in the directory for
 * temporary files, which lives as long as this object. Not thread-safe.
 */
final class RunDirectory implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(RunDirectory.class);

  private final Path path;
  private @Nullable Path link;

  RunDirectory(Path path) {
    this.path = path.toAbsolutePath().normalize();
  }

  Path path() {
    return path;
  }

  /**
   * The directory of a guest, which need not exist.
   *
   * @throws HypervisorException if there is no name for it that is short enough for sockets
   */
  GuestDirectory guest(UUID vm) throws HypervisorException {
    return new GuestDirectory(path.resolve(vm.toString()), nearby(vm).resolve(vm.toString()));
  }

  private Path nearby(UUID vm) throws HypervisorException {
    if (fits(path, vm)) {
      return path;
    }
    try {
      // Whoever sweeps the temporary directory may have taken it.
      if (link == null || !Files.isSymbolicLink(link)) {
        Path place = Files.createTempDirectory("xf");
        link = Files.createSymbolicLink(place.resolve("g"), path);
      }
    } catch (IOException e) {
      throw new HypervisorException(
          Kind.REFUSED, "cannot make a short name for the guests' directory " + path, e);
    }
    if (!fits(link, vm)) {
      throw new HypervisorException(
          Kind.REFUSED,
          "the guests' directory "
              + path
              + " is too long for Unix sockets, and so is the temporary directory "
              + link.getParent()
              + ": choose a shorter state directory");
    }
    return link;
  }

  private static boolean fits(Path directory, UUID vm) {
    Path longest = GuestDirectory.longestSocket(directory.resolve(vm.toString()));
    return longest.toString().getBytes(StandardCharsets.UTF_8).length
        <= GuestDirectory.SOCKET_PATH_LIMIT;
  }

  /** The uuids of the guests that have a directory here. */
  List<UUID> guests() throws IOException {
    if (!Files.isDirectory(path)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(path)) {
      return entries
          .map(entry -> uuid(String.valueOf(entry.getFileName())))
          .flatMap(Optional::stream)
          .sorted()
          .toList();
    }
  }

  private static Optional<UUID> uuid(String name) {
    try {
      return Optional.of(UUID.fromString(name));
    } catch (IllegalArgumentException e) {
      return Optional.empty(); // somebody else's file
    }
  }

  @Override
  public void close() {
    if (link == null) {
      return;
    }
    try {
      Files.deleteIfExists(link);
      Files.deleteIfExists(link.toAbsolutePath().getParent());
    } catch (IOException e) {
      log.warn("{} is left behind", link, e);
    }
    link = null;
  }
}
