package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** The look of {@code xenferry test} after what its tests have left, as it stands in the door. */
@EnabledOnOs(OS.LINUX)
class LeftoversTest {
  private static final Path DOOR =
      Path.of(System.getProperty("user.dir")).resolve("../xenferry").normalize();

  @Test
  void aProcessThatATestLeftIsNamed() throws Exception {
    assertThat(bash("leftovers; echo seen")).isEqualTo("seen\n");
    String found =
        bash(
            """
            setsid sleep 300 &
            leftover=$!
            leftovers
            kill $leftover
            wait $leftover || true
            leftovers
            """);
    assertThat(found).matches(" *[0-9]+ sleep 300 \n");
  }

  private static String bash(String script) throws Exception {
    String door = Files.readString(DOOR);
    String function =
        Pattern.compile("^leftovers\\(\\) \\{\n.*?^}\n", Pattern.MULTILINE | Pattern.DOTALL)
            .matcher(door)
            .results()
            .map(r -> r.group())
            .collect(Collectors.joining());
    assertThat(function).isNotEmpty();
    Process process =
        new ProcessBuilder(
                List.of(
                    "bash",
                    "-euc",
                    "export XENFERRY_TEST_RUN=$$-leftovers-test\n" + function + script))
            .redirectErrorStream(true)
            .start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    return out;
  }
}
