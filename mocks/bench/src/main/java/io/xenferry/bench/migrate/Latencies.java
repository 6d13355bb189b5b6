package io.xenferry.bench.migrate;

import java.util.NavigableMap;
import java.util.OptionalDouble;
import java.util.TreeMap;

/**
 * How long writes took: the guest's histogram, eight buckets to each power of two. Not thread-safe.
 */
final class Latencies {
  private static final int LINEAR = 8;

  private final NavigableMap<Integer, Long> buckets = new TreeMap<>();

  /**
   * @param text as the guest writes it: {@code 42:1,43:7}, or nothing
   * @throws IllegalArgumentException when it is not of that form
   */
  static Latencies parse(String text) {
    Latencies latencies = new Latencies();
    if (!text.isEmpty()) {
      for (String pair : text.split(",", -1)) {
        int colon = pair.indexOf(':');
        if (colon < 0) {
          throw new IllegalArgumentException("not a bucket: " + pair);
        }
        latencies.buckets.merge(
            Integer.parseInt(pair.substring(0, colon)),
            Long.parseLong(pair.substring(colon + 1)),
            Long::sum);
      }
    }
    return latencies;
  }

  void add(Latencies other) {
    other.buckets.forEach((bucket, count) -> buckets.merge(bucket, count, Long::sum));
  }

  long count() {
    return buckets.values().stream().mapToLong(Long::longValue).sum();
  }

  /**
   * Microseconds that the given part of the writes stayed below: the upper bound of its bucket.
   *
   * @param part between 0 and 1
   */
  OptionalDouble quantile(double part) {
    long rank = (long) Math.ceil(part * count());
    long seen = 0;
    for (var bucket : buckets.entrySet()) {
      seen += bucket.getValue();
      if (seen >= rank) {
        return OptionalDouble.of(upperBound(bucket.getKey()));
      }
    }
    return OptionalDouble.empty();
  }

  private static double upperBound(int bucket) {
    if (bucket < LINEAR) {
      return bucket + 1;
    }
    int power = bucket / LINEAR + 2;
    return Math.scalb(1.0 + (bucket % LINEAR + 1) / (double) LINEAR, power);
  }
}
