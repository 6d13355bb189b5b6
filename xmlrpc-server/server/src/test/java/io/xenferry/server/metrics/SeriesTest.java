package io.xenferry.server.metrics;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import org.junit.jupiter.api.Test;

class SeriesTest {
  /** A multiple of a day. */
  private static final long MIDNIGHT = 86_400L * 20_000;

  @Test
  void valuesOfARowsTimeAreConsolidated() {
    Series series = new Series();
    for (int i = 1; i <= 12; i++) {
      series.add(MIDNIGHT + 5L * i, i);
    }
    series.add(MIDNIGHT + 65, 100);
    long minute = MIDNIGHT + 60;
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 10)).isEqualTo(2);
    assertThat(series.get(0, Consolidation.MAX, MIDNIGHT + 10)).isEqualTo(2);
    assertThat(series.get(1, Consolidation.AVERAGE, minute)).isEqualTo(6.5);
    assertThat(series.get(1, Consolidation.MIN, minute)).isEqualTo(1);
    assertThat(series.get(1, Consolidation.MAX, minute)).isEqualTo(12);
    assertThat(series.get(3, Consolidation.MAX, MIDNIGHT + 86_400)).isEqualTo(100);
  }

  @Test
  void gapsAndWhatIsTooOldHaveNoValue() {
    Series series = new Series();
    series.add(MIDNIGHT, 1);
    series.add(MIDNIGHT + 20, 2);
    series.add(MIDNIGHT + 25, Double.NaN);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT)).isEqualTo(1);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 10)).isNaN();
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 25)).isNaN();
    series.add(MIDNIGHT + 5 * 120, 3);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT)).isNaN();
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 20)).isEqualTo(2);
    series.add(MIDNIGHT + 5 * 10_000, 4);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 5 * 120)).isNaN();
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 5 * 10_000)).isEqualTo(4);
  }

  @Test
  void whenTheClockIsSetBackTheFutureIsForgotten() {
    Series series = new Series();
    for (int i = 0; i < 100; i++) {
      series.add(MIDNIGHT + 5L * i, i);
    }
    series.add(MIDNIGHT + 5 * 50, 1000);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 5 * 49)).isEqualTo(49);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 5 * 50)).isEqualTo(1000);
    series.add(MIDNIGHT + 5 * 60, 1001);
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 5 * 55)).isNaN();
    assertThat(series.get(0, Consolidation.AVERAGE, MIDNIGHT + 5 * 99)).isNaN();
  }

  @Test
  void itGoesOnWhereItWasWritten() throws Exception {
    Series series = new Series();
    series.add(MIDNIGHT + 5, 2);
    series.add(MIDNIGHT + 10, 4);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    series.write(new DataOutputStream(bytes));
    assertThat(bytes.size()).isLessThan(Series.BYTES);
    Series again = Series.read(new DataInputStream(new ByteArrayInputStream(bytes.toByteArray())));
    again.add(MIDNIGHT + 60, 9);
    assertThat(again.get(0, Consolidation.AVERAGE, MIDNIGHT + 5)).isEqualTo(2);
    assertThat(again.get(1, Consolidation.AVERAGE, MIDNIGHT + 60)).isEqualTo(5);
    assertThat(again.get(1, Consolidation.MIN, MIDNIGHT + 60)).isEqualTo(2);
  }

  @Test
  void aStepIsChosenThatReachesBack() {
    long now = MIDNIGHT;
    assertThat(Span.suiting(0, now - 600, now)).isZero();
    assertThat(Span.suiting(5, now - 630, now)).as("a clock that is slow").isZero();
    assertThat(Span.suiting(0, now - 3600, now)).isEqualTo(1);
    assertThat(Span.suiting(60, now - 60, now)).isEqualTo(1);
    assertThat(Span.suiting(61, now - 60, now)).isEqualTo(2);
    assertThat(Span.suiting(0, 0, now)).isEqualTo(3);
    assertThat(Span.suiting(100_000, now, now)).isEqualTo(3);
  }
}
