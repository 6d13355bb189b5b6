package io.xenferry.bench.migrate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.bench.migrate.Run.Figures;
import io.xenferry.bench.migrate.Trace.Interval;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class ReportTest {
  private static final Rate RATE = Rate.parse("20");

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final Report report = new Report(new PrintStream(bytes, true, StandardCharsets.UTF_8));

  private static Run done(String contender, double total, double gap, double during, double p99) {
    return new Run(
        contender,
        RATE,
        Optional.of(
            new Figures(
                total,
                gap,
                12,
                OptionalDouble.of(gap / 2),
                400L << 20,
                java.util.OptionalLong.empty(),
                Optional.of(new Interval(1000, OptionalDouble.of(500))),
                Optional.of(new Interval(during, OptionalDouble.of(p99))),
                "")),
        Optional.empty());
  }

  private static Run failed(String contender) {
    return new Run(
        contender, RATE, Optional.empty(), Optional.of("not done: it writes, and \"writes\""));
  }

  private static Summary summary(String contender, Run... runs) {
    return Summary.of(contender, RATE, List.of(runs));
  }

  private String text() {
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Test
  void ratiosAreOfTheBestPeerThatConverges() {
    Summary our =
        summary("auto", done("auto", 2000, 50, 900, 1000), done("auto", 4000, 70, 700, 2000));
    Summary libvirt = summary("libvirt bg", done("libvirt bg", 6000, 240, 900, 1000));
    Summary never = summary("qmp bg", done("qmp bg", 100, 1, 900, 900), failed("qmp bg"));
    Summary other = summary("qmp wb", done("qmp wb", 4500, 30, 100, 90000));

    report.ratios(RATE, List.of(our), List.of(libvirt, never, other));

    assertThat(text())
        .contains("ratio total (auto, 20 MB/s): 1.50  qmp wb's time over ours")
        .contains("ratio downtime (auto, 20 MB/s): 4.00  libvirt bg's heartbeat gap over ours")
        .contains("writes kept (auto, 20 MB/s): 0.80")
        .contains("p99 (auto, 20 MB/s): 3.00");
  }

  @Test
  void whatDoesNotConvergeHasNoRatio() {
    report.ratios(RATE, List.of(summary("auto", failed("auto"))), List.of());

    assertThat(text()).isEqualTo("auto, 20 MB/s: 0 of 1 moves came to their end\n");
  }

  @Test
  void aTableShowsWhatIsNotThereAsADash() {
    report.table(RATE, List.of(summary("qmp bg", failed("qmp bg"))));

    assertThat(text()).contains("0/1").contains("– → –");
  }

  @Test
  void everyMoveIsALineOfTheCsvFile() {
    assertThat(Report.csv(List.of(done("auto", 2000, 50, 900, 1000), failed("qmp bg"))))
        .satisfiesExactly(
            header -> assertThat(header).startsWith("rate,contender,total_ms"),
            done ->
                assertThat(done).startsWith("20,auto,2000.0,50.0,25.0,12.0,419430400,1000.0,900.0"),
            failed -> assertThat(failed).endsWith("\"not done: it writes, and \"\"writes\"\"\""))
        .allSatisfy(
            line -> assertThat(line.split(",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", -1)).hasSize(12));
  }

  @Test
  void ratesAreWords() {
    assertThat(Rate.parse("idle").writes()).isFalse();
    assertThat(Rate.parse("MAX").option()).isEqualTo("max");
    assertThat(Rate.parse("0.5").option()).isEqualTo("500000");
    assertThatThrownBy(() -> Rate.parse("-1")).isInstanceOf(NumberFormatException.class);
    assertThatThrownBy(() -> Rate.parse("fast")).isInstanceOf(NumberFormatException.class);
  }

  @Test
  void libvirtTellsItsDowntimeInTwoUnits() {
    assertThat(Libvirt.downtime("Job type: Completed\nTotal downtime:   46           ms\n"))
        .hasValue(46);
    assertThat(Libvirt.downtime("Total downtime:   1.250  s\n")).hasValue(1250);
    assertThat(Libvirt.downtime("Time elapsed: 3 ms")).isEmpty();
  }
}
