package io.xenferry.bench.api;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A process that sends one request again and again over several connections, each waiting for its
 * answer, and prints what came of it. Arguments: port, file with the request, connections, seconds
 * that do not count, seconds that do.
 */
public final class Load {
  /** Calls of a connection whose times are kept; later ones replace earlier ones at random. */
  private static final int KEPT = 100_000;

  private Load() {}

  /** What a connection has seen. */
  private static final class Seen {
    long calls;
    long bytes;
    final long[] nanos = new long[KEPT];
  }

  public static void main(String[] arguments) throws Exception {
    int port = Integer.parseInt(arguments[0]);
    byte[] request = Files.readAllBytes(Path.of(arguments[1]));
    int connections = Integer.parseInt(arguments[2]);
    long begin = System.nanoTime() + seconds(arguments[3]);
    long end = begin + seconds(arguments[4]);
    AtomicReference<IOException> failure = new AtomicReference<>();
    List<Seen> all = new ArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < connections; i++) {
      Seen seen = new Seen();
      all.add(seen);
      threads.add(
          Thread.ofPlatform()
              .start(() -> {
                try (Connection connection = new Connection(port)) {
                  run(connection, request, seen, begin, end);
                } catch (IOException e) {
                  failure.set(e);
                }
              }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    if (failure.get() != null) {
      System.out.println("failed " + failure.get());
      System.exit(1);
    }
    long calls = all.stream().mapToLong(seen -> seen.calls).sum();
    long bytes = all.stream().mapToLong(seen -> seen.bytes).sum();
    long[] times =
        all.stream()
            .flatMapToLong(seen -> Arrays.stream(seen.nanos, 0, (int) Math.min(KEPT, seen.calls)))
            .sorted()
            .toArray();
    System.out.printf(
        Locale.ROOT,
        "%f %f %f %f%n",
        calls / Double.parseDouble(arguments[4]),
        quantile(times, 0.5),
        quantile(times, 0.99),
        calls == 0 ? 0 : (double) bytes / calls);
  }

  private static long seconds(String text) {
    return (long) (Double.parseDouble(text) * 1e9);
  }

  private static void run(Connection connection, byte[] request, Seen seen, long begin, long end)
      throws IOException {
    long before = System.nanoTime();
    while (before - end < 0) {
      long bytes = connection.skip(request);
      long after = System.nanoTime();
      if (before - begin >= 0 && after - end <= 0) {
        seen.nanos[(int) (seen.calls % KEPT)] = after - before;
        seen.calls++;
        seen.bytes += bytes;
      }
      before = after;
    }
  }

  /** Milliseconds. */
  private static double quantile(long[] sorted, double part) {
    return sorted.length == 0
        ? Double.NaN
        : sorted[(int) Math.min(sorted.length - 1, Math.ceil(part * sorted.length))] / 1e6;
  }
}
