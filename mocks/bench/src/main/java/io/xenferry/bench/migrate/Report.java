package io.xenferry.bench.migrate;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;

/** What is printed: each move as it ends, a table for each rate, the ratios. */
final class Report {
  private static final double MIB = 1 << 20;
  private static final String LIBVIRT = "libvirt";

  private final PrintStream out;

  Report(PrintStream out) {
    this.out = out;
  }

  void run(Run run, String round) {
    String what = run.rate().label() + ", " + round + ", " + run.contender();
    if (run.figures().isEmpty()) {
      out.printf("%s: %s%n", what, run.failure().orElse("failed"));
      return;
    }
    Run.Figures f = run.figures().get();
    out.printf(
        Locale.ROOT,
        "%s: %.2f s, gap %.0f ms, %.0f MiB%s%s%n",
        what,
        f.total() / 1000,
        f.gap(),
        f.sent() / MIB,
        f.during()
            .filter(d -> run.rate().writes())
            .map(d -> String.format(Locale.ROOT, ", %.0f writes/s", d.writesPerSecond()))
            .orElse(""),
        f.remark().isEmpty() ? "" : "; " + f.remark());
  }

  void table(Rate rate, List<Summary> summaries) {
    out.printf("%nwrites: %s%n", rate.label());
    out.printf(
        "%-16s %5s %8s %8s %8s %8s %8s %15s %17s%n",
        "", "done", "total s", "gap ms", "own ms", "stall ms", "MiB", "writes/s", "p99 ms");
    for (Summary s : summaries) {
      out.printf(
          "%-16s %5s %8s %8s %8s %8s %8s %15s %17s%n",
          s.contender(),
          s.done() + "/" + s.all(),
          number(s.total(), 1000, 2),
          number(s.gap(), 1, 0),
          number(s.reported(), 1, 0),
          number(s.stall(), 1, 0),
          number(s.sent(), MIB, 0),
          change(s.rateBefore(), s.rateDuring(), 1, 0, rate),
          change(s.p99Before(), s.p99During(), 1000, 2, rate));
    }
  }

  private static String change(
      OptionalDouble before, OptionalDouble during, double unit, int digits, Rate rate) {
    return rate.writes()
        ? number(before, unit, digits) + " → " + number(during, unit, digits)
        : "–";
  }

  static String number(OptionalDouble value, double unit, int digits) {
    return value.isPresent()
        ? String.format(Locale.ROOT, "%." + digits + "f", value.getAsDouble() / unit)
        : "–";
  }

  /** For each of ours at each rate, against the peers. Above 1 ours is better in the first two. */
  void ratios(Rate rate, List<Summary> ours, List<Summary> peers) {
    for (Summary our : ours) {
      String where = our.contender() + ", " + rate.label();
      if (!our.converges()) {
        out.printf("%s: %d of %d moves came to their end%n", where, our.done(), our.all());
        continue;
      }
      Optional<Summary> quickest = best(peers, Summary::total);
      line(
          "ratio total",
          where,
          quotient(quickest, our, Summary::total),
          quickest.map(p -> p.contender() + "'s time over ours").orElse(""));
      List<Summary> libvirt =
          peers.stream().filter(p -> p.contender().startsWith(LIBVIRT)).toList();
      Optional<Summary> shortest = best(libvirt, Summary::gap);
      line(
          "ratio downtime",
          where,
          quotient(shortest, our, Summary::gap),
          shortest.map(p -> p.contender() + "'s heartbeat gap over ours").orElse(""));
      if (rate.writes()) {
        line("writes kept", where, our.kept(), "of those before the move");
        line("p99", where, our.p99Factor(), "times that before the move");
      }
    }
  }

  private static OptionalDouble quotient(
      Optional<Summary> peer, Summary our, Function<Summary, OptionalDouble> figure) {
    return peer.isEmpty()
        ? OptionalDouble.empty()
        : Summary.quotient(figure.apply(peer.get()), figure.apply(our));
  }

  private void line(String name, String where, OptionalDouble value, String meaning) {
    if (value.isPresent()) {
      out.printf(Locale.ROOT, "%s (%s): %.2f  %s%n", name, where, value.getAsDouble(), meaning);
    } else {
      out.printf("%s (%s): nothing to compare with%n", name, where);
    }
  }

  /** The peer with the smallest figure, of those that converge. */
  private static Optional<Summary> best(
      List<Summary> peers, Function<Summary, OptionalDouble> figure) {
    return peers.stream()
        .filter(p -> p.converges() && figure.apply(p).isPresent())
        .min(
            (a, b) -> Double.compare(figure.apply(a).orElseThrow(), figure.apply(b).orElseThrow()));
  }

  /** Every move, a line each, with a line of names first. */
  static List<String> csv(List<Run> runs) {
    List<String> lines = new ArrayList<>();
    lines.add(
        "rate,contender,total_ms,gap_ms,own_downtime_ms,stall_ms,sent_bytes,writes_before,"
            + "writes_during,p99_us_before,p99_us_during,failure");
    for (Run run : runs) {
      List<String> words = new ArrayList<>(List.of(run.rate().name(), run.contender()));
      if (run.figures().isPresent()) {
        Run.Figures f = run.figures().get();
        words.add(String.format(Locale.ROOT, "%.1f", f.total()));
        words.add(String.format(Locale.ROOT, "%.1f", f.gap()));
        words.add(plain(f.reported()));
        words.add(String.format(Locale.ROOT, "%.1f", f.stall()));
        words.add(Long.toString(f.sent()));
        words.add(plain(writes(f.before())));
        words.add(plain(writes(f.during())));
        words.add(plain(f.before().map(Trace.Interval::p99).orElse(OptionalDouble.empty())));
        words.add(plain(f.during().map(Trace.Interval::p99).orElse(OptionalDouble.empty())));
        words.add("");
      } else {
        words.addAll(List.of("", "", "", "", "", "", "", "", ""));
        words.add('"' + run.failure().orElse("").replace("\"", "\"\"").replace("\n", " ") + '"');
      }
      lines.add(String.join(",", words));
    }
    return lines;
  }

  private static OptionalDouble writes(Optional<Trace.Interval> interval) {
    return interval.isPresent()
        ? OptionalDouble.of(interval.get().writesPerSecond())
        : OptionalDouble.empty();
  }

  private static String plain(OptionalDouble value) {
    return value.isPresent() ? String.format(Locale.ROOT, "%.1f", value.getAsDouble()) : "";
  }
}
