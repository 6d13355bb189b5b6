package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class LedgerBenchTest {
  @TempDir Path directory;

  @Test
  @Timeout(120)
  void measuresBothAndCleansUp() throws Exception {
    Ran ran = Ran.bench("ledger", "--rounds=3", "--warm-up=1", "--directory", directory.toString());

    assertThat(ran.exit()).as(ran.output()).isZero();
    assertThat(ran.output())
        .containsPattern("(?m)^ledgers: 6 durable changes .* median \\d+\\.\\d\\d ms, p99 ")
        .containsPattern("(?m)^fdatasync: 6 durable changes .* median \\d+\\.\\d\\d ms, p99 ")
        .containsPattern("(?m)^ratio ledger: \\d+\\.\\d\\d$");
    try (var left = Files.list(directory)) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void refusesNonsense() {
    assertThat(new CommandLine(new BenchCommand()).execute("ledger", "--rounds=0")).isEqualTo(3);
  }
}
