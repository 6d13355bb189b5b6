package io.xenferry.bench.migrate;

import io.xenferry.bench.migrate.Run.Figures;
import io.xenferry.bench.migrate.Trace.Interval;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;

/**
 * The medians of one contender's moves at one rate. Times are in milliseconds, latencies in
 * microseconds, both empty where nothing was measured.
 *
 * @param done moves that came to their end, of all
 */
record Summary(String contender, Rate rate, int done, int all, List<Figures> figures) {

  static Summary of(String contender, Rate rate, List<Run> runs) {
    List<Figures> figures =
        runs.stream()
            .filter(r -> r.contender().equals(contender) && r.rate().equals(rate))
            .flatMap(r -> r.figures().stream())
            .toList();
    int all =
        (int)
            runs.stream()
                .filter(r -> r.contender().equals(contender) && r.rate().equals(rate))
                .count();
    return new Summary(contender, rate, figures.size(), all, figures);
  }

  /** Whether its medians may be compared: more than half of its moves came to their end. */
  boolean converges() {
    return done * 2 > all;
  }

  OptionalDouble total() {
    return median(Figures::total);
  }

  OptionalDouble gap() {
    return median(Figures::gap);
  }

  OptionalDouble stall() {
    return median(Figures::stall);
  }

  OptionalDouble sent() {
    return median(Figures::sent);
  }

  OptionalDouble reported() {
    return median(figures.stream().map(Figures::reported).flatMapToDouble(OptionalDouble::stream));
  }

  OptionalDouble rateBefore() {
    return rateOf(Figures::before);
  }

  OptionalDouble rateDuring() {
    return rateOf(Figures::during);
  }

  OptionalDouble p99Before() {
    return p99Of(Figures::before);
  }

  OptionalDouble p99During() {
    return p99Of(Figures::during);
  }

  /** What part of the guest's writes it kept while it was copied. */
  OptionalDouble kept() {
    return quotient(rateDuring(), rateBefore());
  }

  OptionalDouble p99Factor() {
    return quotient(p99During(), p99Before());
  }

  static OptionalDouble quotient(OptionalDouble dividend, OptionalDouble divisor) {
    return dividend.isPresent() && divisor.isPresent() && divisor.getAsDouble() > 0
        ? OptionalDouble.of(dividend.getAsDouble() / divisor.getAsDouble())
        : OptionalDouble.empty();
  }

  private OptionalDouble rateOf(Function<Figures, Optional<Interval>> part) {
    return median(
        figures.stream()
            .flatMap(f -> part.apply(f).stream())
            .mapToDouble(Interval::writesPerSecond));
  }

  private OptionalDouble p99Of(Function<Figures, Optional<Interval>> part) {
    return median(
        figures.stream()
            .flatMap(f -> part.apply(f).stream())
            .map(Interval::p99)
            .flatMapToDouble(OptionalDouble::stream));
  }

  private OptionalDouble median(ToDoubleFunction<Figures> figure) {
    return median(figures.stream().mapToDouble(figure));
  }

  static OptionalDouble median(DoubleStream values) {
    double[] sorted = values.sorted().toArray();
    if (sorted.length == 0) {
      return OptionalDouble.empty();
    }
    int middle = sorted.length / 2;
    return OptionalDouble.of(
        sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2);
  }
}
