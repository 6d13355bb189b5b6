package io.xenferry.migration.state;

import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.Optional;

/**
 * When the guest may be stopped for the switch. Until then the copy follows what it writes.
 *
 * @param notBefore the earliest instant; {@link Instant#MIN} for any, {@link Instant#MAX} for none
 *     before an operator says so
 * @param hurried whether what is left need not get small first, however long the guest stands still
 *     for it; within the deadline of the switch
 */
public record CutOver(Instant notBefore, boolean hurried) {
  /** The option of a plan. */
  public static final String OPTION = "cutover";

  /** As soon as the guest need not stand still for longer than it may. */
  public static final CutOver AUTO = new CutOver(Instant.MIN, false);

  /** Not before an operator says so. */
  public static final CutOver HOLD = new CutOver(Instant.MAX, false);

  /** As soon as it can be done. */
  public static final CutOver NOW = new CutOver(Instant.MIN, true);

  /**
   * Reads {@code auto}, {@code hold}, {@code now}, or an instant: 2026-01-31T22:00:00Z, or
   * 20260131T22:00:00Z as XenAPI writes it.
   *
   * @return empty for anything else
   */
  public static Optional<CutOver> of(String text) {
    return switch (text) {
      case "auto" -> Optional.of(AUTO);
      case "hold" -> Optional.of(HOLD);
      case "now" -> Optional.of(NOW);
      default -> instant(text).map(at -> new CutOver(at, false));
    };
  }

  private static Optional<Instant> instant(String text) {
    String dashed =
        text.matches("[0-9]{8}T.*")
            ? text.substring(0, 4) + "-" + text.substring(4, 6) + "-" + text.substring(6)
            : text;
    try {
      return Optional.of(DateTimeFormatter.ISO_OFFSET_DATE_TIME.parse(dashed, Instant::from));
    } catch (DateTimeParseException e) {
      return Optional.empty();
    }
  }

  /** Whether the guest must not be stopped yet. */
  public boolean holds(Instant present) {
    return present.isBefore(notBefore);
  }

  /** Whether it ends by itself. */
  public boolean timed() {
    return !notBefore.equals(Instant.MIN) && !notBefore.equals(Instant.MAX);
  }

  /** What {@link #of} reads. */
  public String word() {
    if (hurried) {
      return "now";
    }
    if (timed()) {
      return notBefore.toString();
    }
    return notBefore.equals(Instant.MAX) ? "hold" : "auto";
  }
}
