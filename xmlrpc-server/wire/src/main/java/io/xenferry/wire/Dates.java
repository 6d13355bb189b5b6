package io.xenferry.wire;

import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.format.ResolverStyle;
import java.time.temporal.ChronoField;
import java.time.temporal.TemporalAccessor;
import java.util.Locale;

/** Dates as XenAPI writes them, {@code 20260102T03:04:05Z}, and the forms it reads. */
public final class Dates {

  private static final DateTimeFormatter COMPACT =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HH:mm:ss'Z'", Locale.ROOT).withZone(ZoneOffset.UTC);

  private static final DateTimeFormatter ANY =
      new DateTimeFormatterBuilder()
          .appendOptional(DateTimeFormatter.ofPattern("uuuuMMdd", Locale.ROOT))
          .appendOptional(DateTimeFormatter.ofPattern("uuuu-MM-dd", Locale.ROOT))
          .appendLiteral('T')
          .appendOptional(DateTimeFormatter.ofPattern("HH:mm:ss", Locale.ROOT))
          .appendOptional(DateTimeFormatter.ofPattern("HHmmss", Locale.ROOT))
          .appendFraction(ChronoField.NANO_OF_SECOND, 0, 9, true)
          .appendOptional(DateTimeFormatter.ofPattern("XXX", Locale.ROOT))
          .appendOptional(DateTimeFormatter.ofPattern("XX", Locale.ROOT))
          .toFormatter(Locale.ROOT)
          // The 30th of February is nobody's 28th.
          .withResolverStyle(ResolverStyle.STRICT);

  private Dates() {}

  /**
   * Whole seconds, UTC. Years outside 0..9999 are cut to that range: the format has four digits.
   */
  public static String format(Instant instant) {
    Instant low = Instant.parse("0000-01-01T00:00:00Z");
    Instant high = Instant.parse("9999-12-31T23:59:59Z");
    Instant within = instant.isBefore(low) ? low : instant.isAfter(high) ? high : instant;
    return COMPACT.format(within);
  }

  /**
   * A missing zone means UTC; fractions are allowed.
   *
   * @throws WireException when the text is no date
   */
  public static Instant parse(String text) throws WireException {
    if (text.length() > 40) {
      throw new WireException("not a date: " + text.length() + " characters");
    }
    try {
      TemporalAccessor t = ANY.parseBest(text.strip(), OffsetDateTime::from, LocalDateTime::from);
      return t instanceof OffsetDateTime o
          ? o.toInstant()
          : ((LocalDateTime) t).toInstant(ZoneOffset.UTC);
    } catch (DateTimeException e) {
      throw new WireException("not a date: " + text, e);
    }
  }
}
