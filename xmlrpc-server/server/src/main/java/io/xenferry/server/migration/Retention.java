package io.xenferry.server.migration;

import java.time.Duration;
import java.util.Locale;
import java.util.Optional;

/**
 * For how long something is kept, in hours or days, as people write it: {@code 12h}, {@code 7d}.
 */
final class Retention {
  static final String PATTERN = "[1-9][0-9]{0,4}[hdHD]";

  private Retention() {}

  /** Empty for words that name no time. */
  static Optional<Duration> of(String words) {
    if (!words.matches(PATTERN)) {
      return Optional.empty();
    }
    long count = Long.parseLong(words.substring(0, words.length() - 1));
    return Optional.of(
        words.toLowerCase(Locale.ROOT).endsWith("h")
            ? Duration.ofHours(count)
            : Duration.ofDays(count));
  }
}
