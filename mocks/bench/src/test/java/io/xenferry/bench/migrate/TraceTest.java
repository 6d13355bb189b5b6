package io.xenferry.bench.migrate;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.bench.migrate.Network.Side;
import org.junit.jupiter.api.Test;

class TraceTest {
  private static final long MS = 1_000_000;

  private final Trace trace = new Trace();

  @Test
  void theGapIsFromTheLastHeartbeatHereToTheFirstThere() {
    trace.line(Side.SOURCE, 10 * MS, "H 100 1");
    trace.line(Side.SOURCE, 20 * MS, "H 110 2");
    trace.line(Side.DESTINATION, 95 * MS, "H 121 3");
    trace.line(Side.DESTINATION, 105 * MS, "H 131 4");

    assertThat(trace.gapAtSwitch()).hasValue(75);
  }

  @Test
  void aStallBeforeTheSwitchIsNotTheSwitch() {
    trace.line(Side.SOURCE, 10 * MS, "H 100 1");
    trace.line(Side.SOURCE, 210 * MS, "H 300 2");
    trace.line(Side.SOURCE, 220 * MS, "H 310 3");
    trace.line(Side.DESTINATION, 260 * MS, "H 320 4");

    assertThat(trace.longestGap(0, 220 * MS)).isEqualTo(200);
    assertThat(trace.gapAtSwitch()).hasValue(40);
  }

  @Test
  void writesCountByTheGuestsClockWithinTheInterval() {
    trace.line(Side.SOURCE, 1000 * MS, "S 1000 w=100 e=0 g=10000 h=40:100");
    trace.line(Side.SOURCE, 1260 * MS, "S 1250 w=200 e=0 g=10000 h=1:100");
    trace.line(Side.SOURCE, 1510 * MS, "S 1500 w=300 e=0 g=10000 h=1:99,2:1");
    trace.line(Side.SOURCE, 9000 * MS, "S 1750 w=900 e=0 g=10000 h=1:600");

    Trace.Interval interval = trace.interval(1000 * MS, 2000 * MS).orElseThrow();

    assertThat(interval.writesPerSecond()).isEqualTo(400);
    // The latencies of the first report are of the time before.
    assertThat(interval.p99()).hasValue(2);
  }

  @Test
  void oneReportIsNoInterval() {
    trace.line(Side.SOURCE, 1000 * MS, "S 1000 w=100 e=0 g=10000 h=40:100");

    assertThat(trace.interval(0, 2000 * MS)).isEmpty();
  }

  @Test
  void cutOffLinesAreLeftOut() {
    for (String line :
        new String[] {"H 12", "S 100 w=1", "S 1 w=x e=0 g=1 h=", "H a b", "", "120 3"}) {
      trace.line(Side.SOURCE, 0, line);
    }

    assertThat(trace.firstBeat(Side.SOURCE)).isEmpty();
    assertThat(trace.interval(-1, 1)).isEmpty();
  }

  @Test
  void theVerdictIsHeard() throws InterruptedException {
    Thread.ofVirtual().start(() -> trace.line(Side.DESTINATION, 0, "V checked=12 bad=1"));

    assertThat(trace.await(() -> trace.verdict().isPresent(), 10_000 * MS)).isTrue();
    assertThat(trace.verdict()).hasValue(new Trace.Verdict(12, 1));
  }
}
