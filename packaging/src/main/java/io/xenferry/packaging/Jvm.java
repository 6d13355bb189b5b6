package io.xenferry.packaging;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** How this process starts another Java program of the same build. */
final class Jvm {
  private Jvm() {}

  /**
   * Options for a server, so that it starts and warms up by what a server before it has learned.
   * Nothing where the build has made no such cache. With {@code -Dxenferry.training=DIRECTORY} the
   * server writes one of its own when it ends, {@code NAME.aot}.
   *
   * @param name of the server
   */
  static List<String> serverCache(String name) {
    String training = System.getProperty("xenferry.training");
    if (training != null) {
      return List.of("-XX:AOTCacheOutput=" + Path.of(training, name + ".aot"));
    }
    String lib = System.getProperty("xenferry.lib");
    if (lib == null) {
      return List.of();
    }
    Path cache = Path.of(lib).resolveSibling("server.aot");
    // One that is of another JVM or class path is passed over, and nobody needs to hear of it.
    return Files.exists(cache)
        ? List.of("-XX:AOTCache=" + cache, "-Xlog:aot=off", "-Xlog:cds=off")
        : List.of();
  }

  static List<String> command(List<String> jvmOptions, String mainClass) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--enable-native-access=ALL-UNNAMED");
    command.add("-XX:+UseSerialGC");
    command.addAll(jvmOptions);
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(mainClass);
    return command;
  }
}
