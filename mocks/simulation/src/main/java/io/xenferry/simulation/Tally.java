package io.xenferry.simulation;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ForkJoinPool;
import java.util.stream.LongStream;

/** What many seeds added up to; the same for the same seeds, whatever the number of threads. */
final class Tally {
  /** Seeds at a time: enough for all threads, few enough for the memory of their results. */
  private static final long BLOCK = 512;

  /** A product that fails in every seed says no more in the thousandth. */
  private static final int FAILURES_KEPT = 3;

  private final Map<String, Integer> counts = new TreeMap<>();
  private final Coverage coverage = new Coverage();
  private final List<Simulation.Result> failures = new ArrayList<>();
  private int seeds;
  private int failed;
  private long events;
  private double virtualSeconds;

  /**
   * Runs the seeds from {@code first} on.
   *
   * @param threads how many at a time
   */
  static Tally of(long first, long seeds, Variant variant, int threads)
      throws InterruptedException {
    Tally tally = new Tally();
    try (ForkJoinPool pool = new ForkJoinPool(threads)) {
      for (long done = 0; done < seeds; done += BLOCK) {
        long from = first + done;
        long end = first + Math.min(seeds, done + BLOCK);
        Callable<List<Simulation.Result>> block =
            () ->
                LongStream.range(from, end)
                    .parallel()
                    .mapToObj(seed -> Simulation.run(seed, variant, null))
                    .toList();
        pool.submit(block).get().forEach(tally::add);
      }
    } catch (ExecutionException e) {
      throw new IllegalStateException("a seed is a result, not an exception", e.getCause());
    }
    return tally;
  }

  void add(Simulation.Result result) {
    seeds++;
    coverage.add(result.coverage());
    events += result.events();
    virtualSeconds += result.virtual().toMillis() / 1000.0;
    result.counts().forEach((what, count) -> counts.merge(what, count, Integer::sum));
    if (result.violation().isPresent()) {
      failed++;
      if (failures.size() < FAILURES_KEPT) {
        failures.add(result);
      }
    }
  }

  int seeds() {
    return seeds;
  }

  /** Seeds that broke a promise. */
  int failed() {
    return failed;
  }

  /** The first of them. */
  List<Simulation.Result> failures() {
    return failures;
  }

  /** Tasks run. */
  long events() {
    return events;
  }

  /** Seconds that it took the simulated hosts. */
  double virtualSeconds() {
    return virtualSeconds;
  }

  /** Which faults met which states. */
  Coverage coverage() {
    return coverage;
  }

  /** Faults and outcomes by name. */
  Map<String, Integer> counts() {
    return counts;
  }

  int migrations() {
    return counts.getOrDefault(LedgerFaults.BEGUN, 0);
  }
}
