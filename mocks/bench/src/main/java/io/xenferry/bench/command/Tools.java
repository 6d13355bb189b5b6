package io.xenferry.bench.command;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Programs of the system. */
public final class Tools {
  private Tools() {}

  /** Where the program is; daemons are often beyond a user's path. */
  public static Optional<Path> find(String program) {
    String path = Optional.ofNullable(System.getenv("PATH")).orElse("");
    for (String directory : (path + ":/usr/sbin:/sbin:/usr/local/sbin").split(":")) {
      Path file = Path.of(directory, program);
      if (!directory.isEmpty() && Files.isExecutable(file)) {
        return Optional.of(file);
      }
    }
    return Optional.empty();
  }

  public static boolean installed(String program) {
    return find(program).isPresent();
  }
}
