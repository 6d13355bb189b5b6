package io.xenferry.bench.target;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.bench.BenchCommand;
import io.xenferry.bench.Ran;
import io.xenferry.bench.command.Tools;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class ConformanceTest {
  @TempDir Path directory;

  @BeforeEach
  void needsItsTools() {
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(
          Stream.of("tgtd", "tgtadm", "iscsi-test-cu", "qemu-img").allMatch(Tools::installed),
          "a program is missing");
    }
  }

  @Test
  @Timeout(120)
  void aFewTestsMakeAPage() throws Exception {
    Path page = directory.resolve("page.md");
    Path work = directory.resolve("work");

    int exit =
        new CommandLine(new BenchCommand())
            .execute(
                "target",
                "--conformance",
                "--tests=^TestUnitReady",
                "--output=" + page,
                "--directory=" + work);

    assertThat(exit).isZero();
    assertThat(Files.readString(page))
        .contains("| TestUnitReady.Simple | passed | passed | passed | passed |");
    assertThat(work).isEmptyDirectory();
  }

  @Test
  @Timeout(120)
  void bothTargetsAreMeasuredAndTheFilesRemoved() throws Exception {
    Ran ran =
        Ran.bench(
            "target",
            "--tests=qemu-img write 4 KiB depth 1$",
            "--size=16M",
            "--seconds=1",
            "--rounds=1",
            "--warm-up=1",
            "--directory=" + directory.resolve("work"));

    assertThat(ran.exit()).as(ran.output()).isZero();
    assertThat(ran.output())
        .containsPattern(
            "(?m)^qemu-img write 4 KiB depth 1 round 1: embedded \\d+/s .* tgtd \\d+/s")
        .containsPattern("(?m)^ratio qemu-img write 4 KiB depth 1: \\d+\\.\\d\\d$");
    assertThat(directory.resolve("work")).isEmptyDirectory();
  }

  @Test
  @Tag("slow")
  @Timeout(900)
  void thePageTellsWhatTheTestsSay() throws Exception {
    Conformance found =
        TargetBench.conformance(Files.createTempDirectory(directory, "all"), Pattern.compile(""));

    assertThat(found.behindTgtd()).as("passed by tgtd and failed by ours").isEmpty();
    // They leave off where a disk says that it takes no WRITE SAME of "all up to the end".
    assertThat(found.leftOff()).containsExactly("WriteSame10.ZeroBlocks", "WriteSame16.ZeroBlocks");
    assertThat(Files.readString(Path.of("../../docs/iscsi-conformance.md")))
        .as("./xenferry bench target --conformance --output docs/iscsi-conformance.md writes it")
        .isEqualTo(TargetBench.page(found));
  }
}
