package io.xenferry.time;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;

class SimulatedThreadsTest {
  private static final Duration SECOND = Duration.ofSeconds(1);

  /** What ends whoever waits in a process that is killed. */
  private static final class Killed extends Error {
    private static final long serialVersionUID = 1L;
  }

  private final SimulatedScheduler scheduler = new SimulatedScheduler(1);
  private final SimulatedScheduler.Process process = scheduler.process("server");
  private final SimulatedThreads threads =
      new SimulatedThreads(process, () -> Duration.ZERO, Killed::new);
  private final CompletableFuture<String> answer = new CompletableFuture<>();
  private final List<String> seen = new ArrayList<>();

  @Test
  void whoWaitsGoesOnInTheOrderOfAllElse() {
    threads.start("one", () -> seen.add("one: " + threads.await(answer)));
    threads.start("two", () -> seen.add("two: " + threads.await(answer)));
    scheduler.schedule(SECOND, () -> answer.complete("yes"));
    scheduler.schedule(SECOND, () -> seen.add("beside"));
    scheduler.runFor(SECOND);
    assertThat(seen).first().isEqualTo("beside");
    assertThat(seen).containsExactlyInAnyOrder("beside", "one: yes", "two: yes");
    assertThat(threads.alive()).isZero();
  }

  @Test
  void aWaitEndsWithItsLimitOnSimulatedTime() {
    threads.start(
        "patient",
        () -> {
          seen.add(threads.await(CompletableFuture.completedFuture("at once"), SECOND));
          try {
            threads.await(answer, SECOND);
          } catch (TimeoutException e) {
            seen.add("waited " + threads.nanoTime());
          }
          seen.add(threads.await(answer, SECOND));
        });
    scheduler.schedule(Duration.ofMillis(1500), () -> answer.complete("late"));
    scheduler.runFor(Duration.ofSeconds(5));
    assertThat(seen).containsExactly("at once", "waited 1000000000", "late");
  }

  @Test
  void nobodyGoesOnInAProcessThatIsKilled() {
    threads.start(
        "waiting",
        () -> {
          try {
            threads.await(answer);
            seen.add("went on");
          } finally {
            seen.add(process.alive() ? "alive" : "unwound");
            threads.await(new CompletableFuture<>());
          }
        });
    scheduler.runFor(SECOND);
    assertThat(threads.alive()).isEqualTo(1);
    process.kill();
    answer.complete("too late");
    threads.start("never", () -> seen.add("began"));
    scheduler.runFor(SECOND);
    assertThat(seen).isEmpty();
    threads.end();
    assertThat(seen).containsExactly("unwound");
    assertThat(threads.alive()).isZero();
  }

  @Test
  void aFailureIsThatOfTheSimulation() {
    threads.start(
        "failing",
        () -> {
          throw new IllegalArgumentException("a bug");
        });
    assertThatThrownBy(() -> scheduler.runFor(SECOND)).hasMessage("a bug");
    assertThatThrownBy(() -> threads.await(answer)).hasMessageContaining("hold up");
  }
}
