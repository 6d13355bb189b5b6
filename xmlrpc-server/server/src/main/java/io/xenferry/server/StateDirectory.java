package io.xenferry.server;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** Where a server keeps what it must not forget; for its owner only. */
final class StateDirectory {
  private static final String DATABASE = "pool.db";

  /**
   * What is in there before the database, or without it: a first start that was interrupted, and
   * what an administrator may put there for the first one.
   */
  private static final Set<String> OURS =
      Set.of(
          "boot",
          "known-servers",
          "lock",
          "root-password",
          "server.p12",
          "server.p12.new",
          "tmp",
          "users",
          // of a file system that was mounted for it
          "lost+found");

  /**
   * What a start writes before it could say why it fails: libraries that are unpacked, and logs.
   */
  static final long ROOM = 8 << 20;

  private StateDirectory() {}

  /**
   * Makes the directory, readable by its owner alone, or takes one that is empty or this product's.
   * Another is left as it is.
   *
   * @throws IOException with a sentence for the administrator
   */
  static void prepare(Path directory) throws IOException {
    if (!Files.exists(directory)) {
      Files.createDirectories(
          directory,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } else if (!Files.exists(directory.resolve(DATABASE))) {
      requireNobodyElses(directory);
    }
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwx------"));
  }

  /**
   * So that a start on a full disk says so, instead of whatever fails first.
   *
   * @param bytes that must be free
   */
  static void requireRoom(Path directory, long bytes) throws IOException {
    long free = Files.getFileStore(directory).getUsableSpace();
    if (free < bytes) {
      throw new IOException(
          "the disk of %s is full: %d KiB are free, and a server needs %d KiB to start"
              .formatted(directory, free >> 10, bytes >> 10));
    }
  }

  private static void requireNobodyElses(Path directory) throws IOException {
    try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
      for (Path file : files) {
        if (!OURS.contains(file.getFileName().toString())) {
          throw new IOException(
              "%s holds something else (%s): the state directory must be new, empty, or that of a"
                      .formatted(directory, file.getFileName())
                  + " XenFerry server");
        }
      }
    } catch (NotDirectoryException e) {
      throw new IOException(directory + " is no directory", e);
    }
  }
}
