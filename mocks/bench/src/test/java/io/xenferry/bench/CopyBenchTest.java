package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class CopyBenchTest {
  @TempDir Path directory;

  @Test
  @Timeout(120)
  void measuresBothKindsOfDiskAndCleansUp() throws Exception {
    boolean tools = TestLun.installed() && QemuImgCopy.installed();
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(tools, "tgtd or qemu-img is missing");
    }
    Ran ran =
        Ran.bench(
            "copy",
            "--size=48M",
            "--rounds=1",
            "--warm-up=1",
            "--limits",
            "--directory",
            directory.toString());

    assertThat(ran.exit()).as(ran.output()).isZero();
    assertThat(ran.output())
        .containsPattern("(?m)^random warm-up: engine ")
        .containsPattern(
            "(?m)^random round 1: engine .* received 5\\d\\.\\d MB .* received 5\\d\\.")
        .containsPattern("(?m)^random median: engine .* CPU s per GiB")
        .containsPattern("(?m)^limits median: memory \\d+ MB/s, loopback \\d+ MB/s, .* \\d+ MB/s$")
        .containsPattern("(?m)^ratio random: \\d+\\.\\d\\d$")
        .containsPattern("(?m)^ratio fresh: \\d+\\.\\d\\d$")
        .containsPattern("(?m)^ratio sparse: \\d+\\.\\d\\d$");
    try (var left = Files.list(directory)) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void refusesNonsense() {
    assertThat(new CommandLine(new BenchCommand()).execute("copy", "--size=-1"))
        .isEqualTo(CommandLine.ExitCode.USAGE);
  }
}
