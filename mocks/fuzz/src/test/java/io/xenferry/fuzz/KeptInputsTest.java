package io.xenferry.fuzz;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;

/** Inputs that once reached something new, or broke something, tried again without a fuzzer. */
class KeptInputsTest {
  static Iterable<String> surfaces() {
    return Surfaces.names();
  }

  @ParameterizedTest
  @MethodSource("surfaces")
  void areTakenAsTheyShould(String name) throws Exception {
    Troubles troubles = Troubles.watch();
    try (Surface surface = Surfaces.open(name)) {
      List<byte[]> inputs = new ArrayList<>(surface.seeds());
      assertThat(inputs).isNotEmpty();
      inputs.addAll(Corpus.kept(name));
      surface.take(new byte[0]);
      for (byte[] input : inputs) {
        surface.take(input);
        troubles.none();
      }
    }
  }

  @Test
  @Tag("slow")
  void aFuzzerFindsNothingInAMinute(@TempDir Path directory) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    CommandLine command = new CommandLine(new FuzzCommand());
    command.setOut(new PrintWriter(out, true, StandardCharsets.UTF_8));
    int status = command.execute("--seconds=5", "--findings=" + directory);
    assertThat(status).as(out.toString(StandardCharsets.UTF_8)).isZero();
    try (var found = Files.list(directory)) {
      assertThat(found).isEmpty();
    }
  }
}
