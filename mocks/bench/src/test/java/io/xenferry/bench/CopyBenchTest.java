package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    PrintStream before = System.out;
    int exit;
    try {
      System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
      exit =
          new CommandLine(new BenchCommand())
              .execute(
                  "copy",
                  "--size=48M",
                  "--rounds=1",
                  "--warm-up=1",
                  "--directory",
                  directory.toString());
    } finally {
      System.setOut(before);
    }
    String output = bytes.toString(StandardCharsets.UTF_8);
    assertThat(exit).as(output).isZero();
    assertThat(output)
        .containsPattern("(?m)^random warm-up: engine ")
        .containsPattern(
            "(?m)^random round 1: engine .* received 5\\d\\.\\d MB .* received 5\\d\\.")
        .containsPattern("(?m)^ratio random: \\d+\\.\\d\\d$")
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

  @Test
  void knowsSizesAndMedians() {
    ByteCount sizes = new ByteCount();
    assertThat(sizes.convert("2G")).isEqualTo(2L << 30);
    assertThat(sizes.convert("512KiB")).isEqualTo(512 << 10);
    assertThat(sizes.convert("4096")).isEqualTo(4096);
    assertThat(CopyBench.median(List.of(3.0, 1.0, 2.0))).isEqualTo(2);
    assertThat(CopyBench.median(List.of(4.0, 1.0))).isEqualTo(2.5);
  }
}
