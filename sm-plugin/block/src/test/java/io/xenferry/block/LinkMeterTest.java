package io.xenferry.block;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;

/** On a clock of its own. */
class LinkMeterTest {
  private static final long MS = Duration.ofMillis(1).toNanos();

  private final LinkMeter meter = new LinkMeter(0);

  private static LinkTimes millis(int sampled, int processor, int encryption, int network) {
    return new LinkTimes(
        Duration.ofMillis(sampled),
        Duration.ofMillis(processor),
        Duration.ofMillis(encryption),
        Duration.ofMillis(network));
  }

  @Test
  void whatComesAfterTheAnswerIsTheDevices() {
    LinkMeter.Sample sample = meter.begin(0, 0, 0);
    sample.answered(2 * MS, 0, 0);
    assertThat(meter.times()).isEqualTo(LinkTimes.NONE);
    sample.ended(50 * MS);

    assertThat(meter.times()).isEqualTo(millis(50, 0, 0, 2));
  }

  @Test
  void aWriteThatIsDoneBeforeTheAnswerWasOnItsWayAllTheTime() {
    LinkMeter.Sample sample = meter.begin(0, 0, 0);
    sample.ended(40 * MS);
    sample.answered(41 * MS, 0, 0);

    assertThat(meter.times()).isEqualTo(millis(40, 0, 0, 40));
  }

  @Test
  void theWayIsDividedByWhatWasAtWorkMeanwhile() {
    LinkMeter.Sample sample = meter.begin(0, 100 * MS, 1000 * MS);
    sample.answered(20 * MS, 105 * MS, 1003 * MS);
    sample.ended(30 * MS);

    assertThat(meter.times()).isEqualTo(millis(30, 5, 3, 12));
  }

  /** Two threads at work at once, or one that was counted for longer than the way took. */
  @Test
  void noMoreIsCountedThanTheWayTook() {
    LinkMeter.Sample sample = meter.begin(0, 0, 0);
    sample.ended(10 * MS);
    sample.answered(30 * MS, 25 * MS, 7 * MS);

    assertThat(meter.times()).isEqualTo(millis(10, 3, 7, 0));
  }

  @Test
  void oneAtATimeAndNotOften() {
    assertThat(meter.isDue(0)).isTrue();
    LinkMeter.Sample sample = meter.begin(0, 0, 0);
    assertThat(meter.isDue(1000 * MS)).isFalse();
    sample.answered(1000 * MS, 0, 0);
    sample.ended(1000 * MS);
    assertThat(meter.isDue(1001 * MS)).isFalse();
    assertThat(meter.isDue(1100 * MS)).isTrue();
  }

  @Test
  void aSampleThatFailsSaysNothing() {
    LinkMeter.Sample sample = meter.begin(0, 0, 0);
    sample.ended(MS);
    sample.dropped(2 * MS);
    sample.answered(3 * MS, 0, 0);

    assertThat(meter.times()).isEqualTo(LinkTimes.NONE);
    assertThat(meter.isDue(1000 * MS)).isTrue();
  }
}
