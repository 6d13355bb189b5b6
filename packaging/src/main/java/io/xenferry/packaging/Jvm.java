package io.xenferry.packaging;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** How this process starts another Java program of the same build. */
final class Jvm {
  private Jvm() {}

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
