package io.xenferry.bench.measure;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

class MeasureTest {
  @Command
  private static final class Any {
    @Mixin private final Rounds rounds = new Rounds(3, 1);
    @Mixin private final Workspace workspace = new Workspace(1 << 20);
  }

  @Test
  void knowsSizesAndMedians() {
    ByteCount sizes = new ByteCount();
    assertThat(sizes.convert("2G")).isEqualTo(2L << 30);
    assertThat(sizes.convert("512KiB")).isEqualTo(512 << 10);
    assertThat(sizes.convert("4096")).isEqualTo(4096);
    assertThat(Medians.of(List.of(3.0, 1.0, 2.0))).isEqualTo(2);
    assertThat(Medians.of(List.of(4.0, 1.0))).isEqualTo(2.5);
  }

  @Test
  void anotherOneBeginsEachRoundAndTheFirstOnesDoNotCount() throws Exception {
    Any any = new Any();
    new CommandLine(any).parseArgs("--rounds=4", "--warm-up=2");
    List<String> order = new ArrayList<>();
    List<String> heard = new ArrayList<>();
    List<Rounds.Kind<String>> kinds =
        List.of(() -> said(order, "a"), () -> said(order, "b"), () -> said(order, "c"));

    List<List<String>> counted =
        any.rounds.measure(kinds, (round, all) -> heard.add(round + " " + all));

    assertThat(String.join("", order)).isEqualTo("bcacababcbcacababc");
    assertThat(heard)
        .hasSize(6)
        .startsWith("warm-up [a, b, c]", "warm-up [a, b, c]", "round 1 [a, b, c]");
    assertThat(counted)
        .containsExactly(
            List.of("a", "a", "a", "a"), List.of("b", "b", "b", "b"), List.of("c", "c", "c", "c"));
  }

  private static String said(List<String> order, String name) {
    order.add(name);
    return name;
  }

  @Test
  void theDefaultsAreThoseOfTheBenchmark() {
    Any any = new Any();
    new CommandLine(any).parseArgs();
    assertThat(any.workspace.size()).isEqualTo(1 << 20);
    new CommandLine(any).parseArgs("--size=2M", "--rounds=0");
    assertThat(any.workspace.size()).isEqualTo(2 << 20);
    assertThat(any.rounds.any()).isFalse();
  }

  @Test
  void aProcessHasUsedSomething() {
    assertThat(Usage.seconds()).isPositive();
    assertThat(Usage.secondsOfChildren()).isNotNegative();
    assertThat(Usage.memory()).isPositive();
  }
}
