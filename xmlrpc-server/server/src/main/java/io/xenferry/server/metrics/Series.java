package io.xenferry.server.metrics;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.util.Arrays;

/**
 * One figure over time, in each {@link Span}. The finest keeps values, the others what became of
 * them by each {@link Consolidation}: {@value #BYTES} bytes in all, whatever happens. A row that
 * nothing is known of is NaN. Not thread-safe.
 */
final class Series {
  private static final int SPANS = Span.ALL.size();
  private static final int WAYS = Consolidation.values().length;

  /**
   * 120 values, and three times 120 + 168 + 366, of 8 bytes; and some for what is in the making.
   */
  static final int BYTES = (120 + 3 * (120 + 168 + 366)) * 8 + 512;

  private static final long NEVER = Long.MIN_VALUE;

  /** By span and consolidation; the finest span has one only. */
  private final double[][][] rings = new double[SPANS][][];

  // By span, of the row that is in the making: its number, and what has come so far.
  private final long[] row = new long[SPANS];
  private final double[] sum = new double[SPANS];
  private final double[] least = new double[SPANS];
  private final double[] most = new double[SPANS];
  private final int[] count = new int[SPANS];

  Series() {
    for (int s = 0; s < SPANS; s++) {
      rings[s] = new double[s == 0 ? 1 : WAYS][Span.ALL.get(s).rows()];
      for (double[] ring : rings[s]) {
        Arrays.fill(ring, Double.NaN);
      }
      row[s] = NEVER;
    }
  }

  /**
   * Adds a value. When time has gone back since the last, what stands in the future is forgotten.
   *
   * @param seconds since 1970; not negative
   * @param value NaN adds nothing
   */
  void add(long seconds, double value) {
    if (Double.isNaN(value)) {
      return;
    }
    for (int s = 0; s < SPANS; s++) {
      long now = Span.ALL.get(s).row(seconds);
      if (now != row[s]) {
        begin(s, now);
      }
      sum[s] += value;
      least[s] = Math.min(least[s], value);
      most[s] = Math.max(most[s], value);
      count[s]++;
      int at = (int) (now % Span.ALL.get(s).rows());
      rings[s][0][at] = sum[s] / count[s];
      if (s > 0) {
        rings[s][Consolidation.MIN.ordinal()][at] = least[s];
        rings[s][Consolidation.MAX.ordinal()][at] = most[s];
      }
    }
  }

  /** Rows between the last and this one have no value. */
  private void begin(int s, long now) {
    int rows = Span.ALL.get(s).rows();
    if (row[s] != NEVER) {
      long from = Math.min(row[s], now) + 1;
      long to = Math.max(row[s], now);
      for (long skipped = Math.max(from, to - rows + 1); skipped <= to; skipped++) {
        for (double[] ring : rings[s]) {
          ring[(int) (skipped % rows)] = Double.NaN;
        }
      }
      for (double[] ring : rings[s]) {
        ring[(int) (now % rows)] = Double.NaN;
      }
    }
    row[s] = now;
    sum[s] = 0;
    count[s] = 0;
    least[s] = Double.POSITIVE_INFINITY;
    most[s] = Double.NEGATIVE_INFINITY;
  }

  /**
   * The value of a row, or NaN.
   *
   * @param span number of it
   * @param seconds since 1970, the row's time
   */
  double get(int span, Consolidation how, long seconds) {
    Span of = Span.ALL.get(span);
    long wanted = of.row(seconds);
    if (row[span] == NEVER || wanted > row[span] || wanted <= row[span] - of.rows()) {
      return Double.NaN;
    }
    double[][] ways = rings[span];
    return ways[Math.min(how.ordinal(), ways.length - 1)][(int) (wanted % of.rows())];
  }

  void write(DataOutput out) throws IOException {
    for (int s = 0; s < SPANS; s++) {
      out.writeLong(row[s]);
      out.writeDouble(sum[s]);
      out.writeDouble(least[s]);
      out.writeDouble(most[s]);
      out.writeInt(count[s]);
      for (double[] ring : rings[s]) {
        for (double value : ring) {
          out.writeDouble(value);
        }
      }
    }
  }

  /** What {@link #write} wrote. */
  static Series read(DataInput in) throws IOException {
    Series series = new Series();
    for (int s = 0; s < SPANS; s++) {
      long row = in.readLong();
      if (row != NEVER && row < 0) {
        throw new IOException("a row of no time");
      }
      series.row[s] = row;
      series.sum[s] = in.readDouble();
      series.least[s] = in.readDouble();
      series.most[s] = in.readDouble();
      series.count[s] = in.readInt();
      for (double[] ring : series.rings[s]) {
        for (int i = 0; i < ring.length; i++) {
          ring[i] = in.readDouble();
        }
      }
    }
    return series;
  }
}
