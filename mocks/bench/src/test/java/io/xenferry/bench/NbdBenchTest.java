package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.bench.command.Tools;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class NbdBenchTest {
  @TempDir Path directory;

  @Test
  @Timeout(120)
  void measuresOverTcpAndTlsAndCleansUp() throws Exception {
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(
          Tools.installed("nbdcopy") && Tools.installed("nbdkit"), "nbdcopy or nbdkit is missing");
    }
    Ran ran =
        Ran.bench(
            "nbd", "--size=16M", "--rounds=1", "--warm-up=0", "--directory", directory.toString());

    assertThat(ran.exit()).as(ran.output()).isZero();
    for (String over : new String[] {"tcp", "tls"}) {
      assertThat(ran.output())
          .containsPattern("(?m)^" + over + " round 1: to nbdkit engine .* nbdcopy \\d")
          .containsPattern("(?m)^ratio " + over + " client: \\d+\\.\\d\\d$")
          .containsPattern("(?m)^ratio " + over + " export: \\d+\\.\\d\\d$")
          .containsPattern("(?m)^ratio " + over + " both: \\d+\\.\\d\\d$");
    }
    try (var left = Files.list(directory)) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void refusesNonsense() {
    assertThat(new CommandLine(new BenchCommand()).execute("nbd", "--connections=none"))
        .isEqualTo(CommandLine.ExitCode.USAGE);
  }
}
