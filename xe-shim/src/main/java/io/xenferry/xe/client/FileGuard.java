package io.xenferry.xe.client;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * A server may touch only files that the user named: those that stand as the value of an argument.
 */
final class FileGuard {
  private final Set<Path> named = new HashSet<>();

  FileGuard(List<String> arguments) {
    for (String argument : arguments) {
      int eq = argument.indexOf('=');
      if (eq >= 0) {
        try {
          named.add(absolute(argument.substring(eq + 1)));
        } catch (InvalidPathException e) {
          // Not a file name, so no file is permitted by it.
        }
      }
    }
  }

  /** The file of this name, if the user named it. */
  Path permitted(String name) throws ClientException {
    try {
      Path path = absolute(name);
      if (!name.isEmpty() && named.contains(path)) {
        return path;
      }
    } catch (InvalidPathException e) {
      // Refused below like any name that the user did not give.
    }
    throw ClientException.failed("File not permitted: " + name);
  }

  private static Path absolute(String name) {
    return Path.of(name).toAbsolutePath().normalize();
  }
}
