package io.xenferry.server.metrics;

import java.util.HashMap;
import java.util.Map;
import java.util.OptionalDouble;

/** How fast numbers grow that only grow. Not thread-safe. */
final class Rates {
  private record Seen(long nanoTime, double value) {}

  private final Map<String, Seen> last = new HashMap<>();

  /**
   * Growth for each second since the last look.
   *
   * @param nanoTime of this look
   * @return empty at the first, and when the number has become smaller: it counts something else
   */
  OptionalDouble rate(String name, long nanoTime, double value) {
    Seen before = last.put(name, new Seen(nanoTime, value));
    if (before == null || value < before.value() || nanoTime <= before.nanoTime()) {
      return OptionalDouble.empty();
    }
    return OptionalDouble.of((value - before.value()) * 1e9 / (nanoTime - before.nanoTime()));
  }

  /** Growth since the last look. */
  OptionalDouble growth(String name, double value) {
    Seen before = last.put(name, new Seen(0, value));
    return before == null || value < before.value()
        ? OptionalDouble.empty()
        : OptionalDouble.of(value - before.value());
  }
}
