package io.xenferry.time;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class SimulatedSchedulerTest {
  private final SimulatedScheduler scheduler = new SimulatedScheduler(1);
  private final List<String> seen = new ArrayList<>();

  @Test
  void runsInOrderOfTimeThenOfSubmission() {
    scheduler.schedule(Duration.ofSeconds(2), () -> seen.add("late"));
    scheduler.schedule(Duration.ofSeconds(1), () -> seen.add("early"));
    scheduler.schedule(Duration.ofSeconds(1), () -> seen.add("early too"));
    scheduler.execute(() -> seen.add("now"));
    scheduler.runFor(Duration.ofMillis(1500));
    assertThat(seen).containsExactly("now", "early", "early too");
    assertThat(scheduler.nanoTime()).isEqualTo(1_500_000_000L);
    scheduler.runFor(Duration.ofSeconds(1));
    assertThat(seen).last().isEqualTo("late");
  }

  @Test
  void dropsTheTasksOfAKilledProcessAndThoseCalledOff() {
    SimulatedScheduler.Process process = scheduler.process("server");
    process.execute(() -> seen.add("server"));
    scheduler.schedule(Duration.ZERO, () -> seen.add("called off")).cancel();
    scheduler.execute(() -> seen.add("client"));
    process.kill();
    process.execute(() -> seen.add("ghost"));
    assertThat(scheduler.runUntil(() -> false, Duration.ofSeconds(1))).isFalse();
    assertThat(seen).containsExactly("client");
  }

  @Test
  void repeatsItselfForTheSameSeed() {
    assertThat(run(5)).isEqualTo(run(5)).isNotEqualTo(run(6));
  }

  private static long run(long seed) {
    SimulatedScheduler scheduler = new SimulatedScheduler(seed);
    tick(scheduler, 100);
    scheduler.runFor(Duration.ofSeconds(10));
    return scheduler.fingerprint();
  }

  private static void tick(SimulatedScheduler scheduler, int left) {
    if (left > 0) {
      scheduler.schedule(
          Duration.ofNanos(scheduler.random().nextInt(1000)), () -> tick(scheduler, left - 1));
    }
  }
}
