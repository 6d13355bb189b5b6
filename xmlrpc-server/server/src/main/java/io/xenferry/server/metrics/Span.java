package io.xenferry.server.metrics;

import java.util.List;

/**
 * A resolution in which figures are kept. Clients know these four.
 *
 * @param step seconds between two rows
 * @param rows how many there are
 */
record Span(int step, int rows) {
  /** Seconds between two looks at a guest, and the finest step. */
  static final int BASE = 5;

  /** Ten minutes, two hours, a week, a year; finest first. */
  static final List<Span> ALL =
      List.of(new Span(BASE, 120), new Span(60, 120), new Span(3600, 168), new Span(86_400, 366));

  /** Number of the row to whose time a second belongs: rows end at multiples of the step. */
  long row(long seconds) {
    return Math.ceilDiv(seconds, (long) step);
  }

  long seconds() {
    return (long) step * rows;
  }

  /**
   * The number of the finest that is not finer than asked for and reaches back to a time; one that
   * misses it by a tenth does, since clients reckon from a clock that is not ours. The coarsest
   * when none does.
   *
   * @param start seconds since 1970
   * @param end the newest row's time
   */
  static int suiting(long interval, long start, long end) {
    for (int i = 0; i < ALL.size(); i++) {
      Span span = ALL.get(i);
      if (span.step() >= interval && end - start <= span.seconds() + span.seconds() / 10) {
        return i;
      }
    }
    return ALL.size() - 1;
  }
}
