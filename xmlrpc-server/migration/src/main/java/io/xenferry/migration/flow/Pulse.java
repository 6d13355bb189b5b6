package io.xenferry.migration.flow;

import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.PeerStanding;
import java.time.Duration;
import java.util.Optional;

/**
 * How promptly the other server is heard, and what silence of it means therefore. Delays are
 * smoothed as TCP does with round-trip times (RFC 6298, section 2): a peer that has always taken
 * three seconds is not lost after six. What follows from it is bounded whatever the delays were:
 * nobody is lost before {@link Deadlines#lost}, nor thought to be there for more than half of the
 * resume window. Not thread-safe.
 */
final class Pulse {
  /** RFC 6298: alpha and beta, as the parts that the past keeps, and K. */
  private static final double SMOOTHED_KEEPS = 7 / 8.0;

  private static final double VARIATION_KEEPS = 3 / 4.0;
  private static final int VARIATIONS = 4;

  private final Deadlines deadlines;
  private long heardAt;
  private double smoothed = -1;
  private double variation;
  private double last;

  /**
   * @param now nanoseconds on the scheduler's clock; silence counts from here
   */
  Pulse(Deadlines deadlines, long now) {
    this.deadlines = deadlines;
    this.heardAt = now;
  }

  /** Something of the peer has come. */
  void heard(long now) {
    heardAt = now;
  }

  /** By how much it was late: the time that an answer took, or that a heartbeat was overdue. */
  void delayed(Duration delay) {
    double sample = Math.max(0, delay.toNanos());
    last = sample;
    if (smoothed < 0) {
      smoothed = sample;
      variation = sample / 2;
    } else {
      variation = VARIATION_KEEPS * variation + (1 - VARIATION_KEEPS) * Math.abs(smoothed - sample);
      smoothed = SMOOTHED_KEEPS * smoothed + (1 - SMOOTHED_KEEPS) * sample;
    }
  }

  Duration silence(long now) {
    return Duration.ofNanos(now - heardAt);
  }

  /** RFC 6298's time-out: what is later than this is unusual. */
  private Duration unusual() {
    return Duration.ofNanos((long) (Math.max(0, smoothed) + VARIATIONS * variation));
  }

  /** An answer that is awaited for so long is late; never less than the heartbeat's interval. */
  Duration slowAfter() {
    return atMost(lostAfter(), atLeast(deadlines.heartbeat(), unusual()));
  }

  /** A peer that is silent for so long is lost. */
  Duration lostAfter() {
    Duration adapted =
        atMost(longest(), atLeast(deadlines.lost(), deadlines.heartbeat().plus(unusual())));
    return atMost(deadlines.resumeWindow(), adapted);
  }

  /** How long an answer is worth waiting for. */
  Duration longest() {
    return atLeast(deadlines.lost(), deadlines.resumeWindow().dividedBy(2));
  }

  /**
   * @param awaited for how long something has been awaited that has not come; zero for nothing
   */
  PeerStanding standing(long now, Duration awaited) {
    Duration silence = silence(now);
    Optional<Duration> delay =
        smoothed < 0 ? Optional.empty() : Optional.of(Duration.ofNanos((long) smoothed));
    PeerStanding.Kind kind;
    if (silence.compareTo(lostAfter()) >= 0) {
      kind = PeerStanding.Kind.LOST;
    } else if (awaited.compareTo(slowAfter()) >= 0
        || Math.max(last, smoothed) >= deadlines.heartbeat().toNanos()) {
      kind = PeerStanding.Kind.SLOW;
    } else {
      kind = PeerStanding.Kind.ANSWERS;
    }
    return new PeerStanding(kind, silence, delay);
  }

  private static Duration atLeast(Duration least, Duration time) {
    return time.compareTo(least) < 0 ? least : time;
  }

  private static Duration atMost(Duration most, Duration time) {
    return time.compareTo(most) > 0 ? most : time;
  }
}
