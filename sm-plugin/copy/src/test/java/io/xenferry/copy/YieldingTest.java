package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class YieldingTest {
  private static final long FAST = Duration.ofMillis(20).toNanos();
  private static final long SLOW = Duration.ofMillis(200).toNanos();

  private final Yielding yielding = new Yielding(16);
  private long now = 1;

  /** A round of requests, as many as may be under way. */
  private void round(long takes) {
    int together = yielding.depth();
    for (int i = 0; i < together; i++) {
      yielding.read(now, now + takes, 16);
    }
    now += takes + 1;
  }

  @Test
  void aRoundThatTakesLongMakesItAThirdSmallerOnce() {
    round(SLOW);
    assertThat(yielding.depth()).isEqualTo(11);
    round(SLOW);
    assertThat(yielding.depth()).isEqualTo(7);
  }

  @Test
  void itNeverStandsStill() {
    for (int i = 0; i < 50; i++) {
      round(SLOW);
    }
    assertThat(yielding.depth()).isEqualTo(2);
  }

  @Test
  void itGrowsByOneARoundAndNoLargerThanItWas() {
    for (int i = 0; i < 50; i++) {
      round(SLOW);
    }
    round(FAST);
    assertThat(yielding.depth()).isBetween(2, 3);
    for (int i = 0; i < 50; i++) {
      round(FAST);
    }
    assertThat(yielding.depth()).isEqualTo(16);
  }

  @Test
  void itBeginsWithWhatIsUnderWayAndNotWithWhatMightBe() {
    Yielding wide = new Yielding(64);
    wide.read(1, 1 + SLOW, 10);
    assertThat(wide.depth()).isEqualTo(7);
  }

  @Test
  void aDiskOfOneRequestKeepsIt() {
    Yielding one = new Yielding(1);
    one.read(1, 1 + SLOW, 1);
    assertThat(one.depth()).isEqualTo(1);
  }
}
