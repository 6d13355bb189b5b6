package io.xenferry.fuzz;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.stream.Stream;

/** Inputs that are kept with the source: one file per surface, one input per line, in Base64. */
final class Corpus {
  private Corpus() {}

  static String file(String surface) {
    return surface + ".txt";
  }

  /** What is kept of a surface; none if nothing is. */
  static List<byte[]> kept(String surface) throws IOException {
    try (InputStream in = Corpus.class.getResourceAsStream(file(surface))) {
      List<byte[]> inputs = new ArrayList<>();
      if (in != null) {
        for (String line :
            new String(in.readAllBytes(), StandardCharsets.US_ASCII).split("\n", -1)) {
          if (!line.isBlank()) {
            inputs.add(Base64.getDecoder().decode(line));
          }
        }
      }
      return inputs;
    }
  }

  /** Puts inputs into a directory, one file each, as the fuzzer takes them. */
  static void unpack(List<byte[]> inputs, Path directory) throws IOException {
    Files.createDirectories(directory);
    for (int i = 0; i < inputs.size(); i++) {
      Files.write(directory.resolve("kept-%04d".formatted(i)), inputs.get(i));
    }
  }

  /** The files of a directory as lines, the shortest first, so that a change is easily read. */
  static void pack(Path directory, Path file) throws IOException {
    List<byte[]> inputs = new ArrayList<>();
    try (Stream<Path> found = Files.list(directory)) {
      for (Path path : found.sorted().toList()) {
        inputs.add(Files.readAllBytes(path));
      }
    }
    List<String> lines =
        inputs.stream()
            .map(Base64.getEncoder()::encodeToString)
            .sorted((a, b) -> a.length() != b.length() ? a.length() - b.length() : a.compareTo(b))
            .toList();
    Files.write(file, lines, StandardCharsets.US_ASCII);
  }
}
