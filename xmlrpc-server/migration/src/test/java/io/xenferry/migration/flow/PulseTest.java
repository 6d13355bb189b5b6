package io.xenferry.migration.flow;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.PeerStanding.Kind;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** When a peer that is silent, or late, is slow, and when it is lost. */
class PulseTest {
  private static final Deadlines DEADLINES = Deadlines.DEFAULT;
  private static final Duration HALF_OF_THE_WINDOW = DEADLINES.resumeWindow().dividedBy(2);

  private final Pulse pulse = new Pulse(DEADLINES, 0);

  private Kind after(Duration silence, Duration awaited) {
    return pulse.standing(silence.toNanos(), awaited).kind();
  }

  private void delays(int times, Duration delay) {
    for (int i = 0; i < times; i++) {
      pulse.delayed(delay);
    }
  }

  @Test
  void oneThatIsPromptIsLostAfterTheShortestTimeThatIsSafe() {
    delays(20, Duration.ofMillis(3));

    assertThat(after(Duration.ofMillis(1900), Duration.ofMillis(1900))).isEqualTo(Kind.ANSWERS);
    assertThat(after(Duration.ofSeconds(4), Duration.ofSeconds(2))).isEqualTo(Kind.SLOW);
    assertThat(after(DEADLINES.lost(), Duration.ofSeconds(4))).isEqualTo(Kind.LOST);
  }

  @Test
  void nothingIsKnownBeforeTheFirstAnswerButSilence() {
    assertThat(after(Duration.ZERO, Duration.ZERO)).isEqualTo(Kind.ANSWERS);
    assertThat(after(DEADLINES.lost(), DEADLINES.lost())).isEqualTo(Kind.LOST);
  }

  @Test
  void oneThatHasAlwaysBeenLateIsSlowNotLost() {
    delays(20, Duration.ofSeconds(8));

    assertThat(after(Duration.ofSeconds(8), Duration.ofSeconds(8))).isEqualTo(Kind.SLOW);
    assertThat(after(Duration.ofSeconds(30), Duration.ofSeconds(30))).isEqualTo(Kind.LOST);
  }

  @Test
  void oneWhoseDelaysVaryIsGivenMoreTime() {
    delays(20, Duration.ofSeconds(8));
    Duration steady = pulse.lostAfter();
    pulse.delayed(Duration.ofMillis(10));
    pulse.delayed(Duration.ofSeconds(16));

    assertThat(pulse.lostAfter()).isGreaterThan(steady);
  }

  @Test
  void oneThatIsPromptAgainIsBelievedAfterAWhile() {
    delays(3, Duration.ofSeconds(8));
    delays(30, Duration.ofMillis(3));

    assertThat(after(Duration.ofSeconds(1), Duration.ZERO)).isEqualTo(Kind.ANSWERS);
    assertThat(pulse.lostAfter()).isEqualTo(DEADLINES.lost());
  }

  @Test
  void whateverTheDelaysWereTheTimesAreBounded() {
    delays(5, Duration.ofDays(1));

    assertThat(pulse.lostAfter()).isEqualTo(HALF_OF_THE_WINDOW);
    assertThat(pulse.slowAfter()).isLessThanOrEqualTo(pulse.lostAfter());
    delays(200, Duration.ofSeconds(-5));
    assertThat(pulse.lostAfter()).isEqualTo(DEADLINES.lost());
    assertThat(pulse.slowAfter()).isEqualTo(DEADLINES.heartbeat());
  }

  @Test
  void aShortWindowBoundsTheRest() {
    Pulse hasty = new Pulse(DEADLINES.withResumeWindow(Duration.ofSeconds(4)), 0);
    hasty.delayed(Duration.ofSeconds(60));

    assertThat(hasty.lostAfter()).isEqualTo(Duration.ofSeconds(4));
  }
}
