package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
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
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    PrintStream before = System.out;
    int exit;
    try {
      System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
      exit =
          new CommandLine(new BenchCommand())
              .execute("ledger", "--rounds=3", "--warm-up=1", "--directory", directory.toString());
    } finally {
      System.setOut(before);
    }
    String output = bytes.toString(StandardCharsets.UTF_8);
    assertThat(exit).as(output).isZero();
    assertThat(output)
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
