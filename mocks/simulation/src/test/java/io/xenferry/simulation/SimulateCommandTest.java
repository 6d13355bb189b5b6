package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** What cannot be simulated keeps no promise. */
class SimulateCommandTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "--seeds=0",
        "--seeds=-5",
        "--first=9223372036854775807",
        "--first=9223372036854775808",
      })
  void seedsThatThereAreNotAreRefused(String option) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int status =
        new CommandLine(new SimulateCommand())
            .setOut(new PrintWriter(out))
            .setErr(new PrintWriter(err))
            .execute(option);
    assertThat(status).isEqualTo(2);
    assertThat(out.toString()).doesNotContain("promise");
    assertThat(err.toString()).contains(option.substring(0, option.indexOf('=')));
  }
}
