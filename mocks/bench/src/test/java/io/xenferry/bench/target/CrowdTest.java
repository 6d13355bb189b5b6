package io.xenferry.bench.target;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.bench.Ran;
import io.xenferry.bench.command.Tools;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class CrowdTest {
  @TempDir Path directory;

  @Test
  @Tag("slow")
  @Timeout(120)
  void tellsWhatExportsCostByTheirNumber() throws Exception {
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(
          Stream.of("tgtd", "tgtadm", "iscsi-perf", "qemu-img").allMatch(Tools::installed),
          "a program is missing");
    }
    Ran ran =
        Ran.bench(
            "target",
            "--exports=1,5",
            "--size=16M",
            "--seconds=1",
            "--rounds=1",
            "--warm-up=0",
            "--directory",
            directory.toString());

    assertThat(ran.exit()).as(ran.output()).isZero();
    assertThat(ran.output())
        .containsPattern("(?m)^ +1( +\\d+\\.\\d\\d){2}( +-?\\d+\\.\\d){2}( +\\d+){2}$")
        .containsPattern("(?m)^ +5( +\\d+\\.\\d\\d){2}( +-?\\d+\\.\\d){2}( +\\d+){2}$");
    try (var left = Files.list(directory)) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void numbersOfExportsRise() {
    assertThat(Ran.bench("target", "--exports=5,1").exit()).isEqualTo(CommandLine.ExitCode.USAGE);
  }
}
