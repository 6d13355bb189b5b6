package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.simulation.SimulateCommand;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The simulation as the door runs it: in a process of its own, with the product's logging. */
class SimulateTest {
  /** The faults are its own, so nothing warns of them. */
  @Test
  void theCommandPrintsItsTableAndNothingElse() throws Exception {
    assertThat(command("--seeds=20").err()).isEmpty();
    Output all = command("--seeds=20", "--verbose");
    assertThat(all.err()).contains("WARN");
    assertThat(all.out().lines().skip(1))
        .isNotEmpty()
        .allMatch(line ->
            line.matches(
                " *[0-9]+  .*|every promise held|fault, and state .*|[0-9]+ cells are not as .*"
                    + "|\\([a-z]\\) impossible: .*|[A-Za-z ]+( +([0-9]+|\\([a-z]\\))){12}"));
  }

  private record Output(String out, String err) {}

  private static Output command(String... options) throws Exception {
    Path err = Files.createTempFile("simulate", ".err");
    try {
      List<String> words =
          new ArrayList<>(
              List.of(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "--enable-native-access=ALL-UNNAMED",
                  "-Dlogback.configurationFile=xenferry-logback.xml",
                  "-cp",
                  System.getProperty("java.class.path"),
                  SimulateCommand.class.getName()));
      words.addAll(List.of(options));
      Process process =
          new ProcessBuilder(words).redirectError(ProcessBuilder.Redirect.to(err.toFile())).start();
      String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertThat(process.waitFor()).isZero();
      return new Output(out, Files.readString(err));
    } finally {
      Files.deleteIfExists(err);
    }
  }
}
