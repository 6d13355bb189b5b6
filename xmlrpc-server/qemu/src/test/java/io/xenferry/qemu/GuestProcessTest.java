package io.xenferry.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class GuestProcessTest {
  /** The kernel counts in hundredths of a second. */
  private static final Duration TICK = Duration.ofMillis(20);

  private static final Duration PATIENCE = Duration.ofSeconds(30);

  @Test
  void aProcessIsAsOldAsTheTimeSinceItsStart() throws Exception {
    long before = System.nanoTime();
    Process sleep = new ProcessBuilder("sleep", "100").start();
    try {
      long started = System.nanoTime();
      GuestProcess process = GuestProcess.of(sleep.pid()).orElseThrow();
      await().atMost(PATIENCE).until(() -> process.age().compareTo(TICK.multipliedBy(5)) > 0);
      Duration least = Duration.ofNanos(System.nanoTime() - started).minus(TICK);
      Duration age = process.age();
      Duration most = Duration.ofNanos(System.nanoTime() - before).plus(TICK);
      assertThat(age).isBetween(least, most);
      sleep.destroyForcibly().waitFor();
      assertThat(process.alive()).isFalse();
      assertThat(process.age()).isGreaterThanOrEqualTo(age);
    } finally {
      sleep.destroyForcibly();
    }
  }
}
