package io.xenferry.migration.state;

import java.time.Duration;
import java.util.Locale;
import java.util.Optional;

/**
 * Whether the other server is there, while it is expected to be heard regularly: one that is slow
 * is waited for, one that is lost is not sent anything.
 *
 * @param silence since when nothing was heard of it
 * @param delay by how much its answers are late, smoothed: at the source the time that they take,
 *     at the destination that by which heartbeats are overdue; empty before the first one
 */
public record PeerStanding(Kind kind, Duration silence, Optional<Duration> delay) {

  /** How it stands. */
  public enum Kind {
    ANSWERS,
    /** It is heard, but late; or it is overdue, and not yet for long. */
    SLOW,
    /** It was not heard for much longer than it ever took of late. */
    LOST;

    /** In lower case. */
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** For people: {@code slow: late by 3.2 s}, {@code lost: silent for 12.0 s}. */
  public String words() {
    return switch (kind) {
      case ANSWERS -> kind.word();
      case SLOW ->
          kind.word()
              + ": "
              + delay
                  .filter(late -> late.compareTo(silence) >= 0)
                  .map(late -> "late by " + seconds(late))
                  .orElseGet(() -> "silent for " + seconds(silence));
      case LOST -> kind.word() + ": silent for " + seconds(silence);
    };
  }

  private static String seconds(Duration time) {
    return String.format(Locale.ROOT, "%.1f s", time.toNanos() / 1e9);
  }
}
