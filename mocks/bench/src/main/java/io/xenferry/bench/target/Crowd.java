package io.xenferry.bench.target;

import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.target.TargetSpeed.Load;
import io.xenferry.iscsi.target.TargetException;
import java.io.IOException;
import java.util.List;
import java.util.Locale;

/**
 * What exports cost by their number: to open one, to keep it, and for one that is used beside all
 * others that are not.
 */
final class Crowd {
  private static final Load LOAD =
      TargetSpeed.loads(false).stream()
          .filter(load -> load.write() && load.size() == 4 << 10 && load.depth() == 32)
          .findFirst()
          .orElseThrow();

  private final TargetSpeed speed;

  Crowd(TargetSpeed speed) {
    this.speed = speed;
  }

  /**
   * Prints a line for each number.
   *
   * @param numbers of exports, rising, 1 or more
   * @param ours the embedded target's disk, filled, beside which others are offered
   * @param theirs tgtd's
   */
  void measure(List<Integer> numbers, ServedDisk ours, ServedDisk theirs) throws Exception {
    long[] alone = {ours.memory(), theirs.memory()};
    int there = 1;
    System.out.printf(
        "%8s %22s %22s %26s%n", "", "ms to open one", "KiB to keep one", LOAD.name() + ", 1/s");
    System.out.printf(
        "%8s %11s %10s %11s %10s %13s %12s%n",
        "exports", "embedded", "tgtd", "embedded", "tgtd", "embedded", "tgtd");
    for (int number : numbers) {
      double[] opening = {milliseconds(ours, there, number), milliseconds(theirs, there, number)};
      there = number;
      long[] now = {ours.memory(), theirs.memory()};
      List<List<Double>> rates =
          speed.rates(LOAD, List.of(ours.url(), theirs.url()), number + " exports, " + LOAD.name());
      System.out.printf(
          Locale.ROOT,
          "%8d %11.2f %10.2f %11.1f %10.1f %13.0f %12.0f%n",
          number,
          opening[0],
          opening[1],
          kept(alone[0], now[0], number),
          kept(alone[1], now[1], number),
          Medians.of(rates.getFirst()),
          Medians.of(rates.getLast()));
    }
  }

  private static double milliseconds(ServedDisk disk, int there, int wanted)
      throws IOException, TargetException {
    long began = System.nanoTime();
    disk.offerMore(there + 1, wanted);
    return (System.nanoTime() - began) / 1e6 / Math.max(1, wanted - there);
  }

  private static double kept(long alone, long now, int number) {
    return number == 1 ? 0 : (now - alone) / 1024.0 / (number - 1);
  }
}
