package io.xenferry.block;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** How files are made that hold what guests wrote: nobody but their owner reads them. */
public final class OwnerOnly {
  private OwnerOnly() {}

  /** Mode 0600, for whatever creates a file. */
  public static FileAttribute<Set<PosixFilePermission>> file() {
    return PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
  }

  /** Mode 0700, for whatever creates a directory. */
  public static FileAttribute<Set<PosixFilePermission>> directory() {
    return PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
  }

  /**
   * Makes an empty file for a program that would give it another mode, and leaves one that is there
   * as it is.
   */
  public static void make(Path path) throws IOException {
    try {
      Files.createFile(path, file());
    } catch (FileAlreadyExistsException e) {
      // Whoever made it chose its mode.
    }
  }
}
