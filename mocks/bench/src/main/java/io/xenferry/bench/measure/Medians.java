package io.xenferry.bench.measure;

import java.util.List;
import java.util.Locale;

/** What is told of many measures: the middle one, and how two of them compare. */
public final class Medians {
  private Medians() {}

  /**
   * The middle one, or the mean of the two in the middle.
   *
   * @param values one or more, in any order
   */
  public static double of(List<Double> values) {
    List<Double> sorted = values.stream().sorted().toList();
    int middle = sorted.size() / 2;
    return sorted.size() % 2 == 1
        ? sorted.get(middle)
        : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
  }

  /** Prints the first over the second, as a line that programs find. */
  public static void ratio(String name, List<Double> over, List<Double> under) {
    ratio(name, of(over) / of(under));
  }

  public static void ratio(String name, double ratio) {
    System.out.printf(Locale.ROOT, "ratio %s: %.2f%n", name, ratio);
  }
}
