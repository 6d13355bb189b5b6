package io.xenferry.bench.migrate;

import io.xenferry.bench.chart.Chart;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.Function;

/** The figures over rising write rates, a file each. */
final class Charts {
  private static final double MIB = 1 << 20;

  private final List<Rate> rates;
  private final List<String> contenders;
  private final List<Run> runs;

  Charts(List<Rate> rates, List<String> contenders, List<Run> runs) {
    this.rates = rates;
    this.contenders = contenders;
    this.runs = runs;
  }

  void write(Path directory) throws IOException {
    Files.createDirectories(directory);
    List<Rate> writing = rates.stream().filter(Rate::writes).toList();
    write(directory, "total", "Total time (s)", rates, Summary::total, 1000, false);
    write(
        directory,
        "downtime",
        "Gap between heartbeats at the switch (ms)",
        rates,
        Summary::gap,
        1,
        false);
    write(directory, "sent", "Left the source (MiB)", rates, Summary::sent, MIB, false);
    write(
        directory,
        "writes",
        "Writes kept during the copy (of those before)",
        writing,
        Summary::kept,
        1,
        false);
    write(
        directory,
        "p99",
        "99 of 100 writes took less (ms), during the copy",
        writing,
        Summary::p99During,
        1000,
        true);
  }

  private void write(
      Path directory,
      String name,
      String title,
      List<Rate> places,
      Function<Summary, OptionalDouble> figure,
      double unit,
      boolean logarithmic)
      throws IOException {
    List<Chart.Line> lines = new ArrayList<>();
    for (String contender : contenders) {
      lines.add(
          new Chart.Line(
              contender,
              places.stream()
                  .map(rate -> Summary.of(contender, rate, runs))
                  .map(s ->
                      s.converges()
                          ? Summary.quotient(figure.apply(s), OptionalDouble.of(unit))
                          : OptionalDouble.empty())
                  .toList()));
    }
    Files.writeString(
        directory.resolve("migrate-" + name + ".svg"),
        new Chart(title, places.stream().map(Rate::label).toList(), lines, logarithmic).svg());
  }
}
