package io.xenferry.bench.target;

import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.bench.target.Program.Ended;
import io.xenferry.iscsi.IscsiUrl;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How many requests a second each target answers, with the same clients in alternating order:
 * {@code qemu-img bench}, {@code iscsi-perf} and, where there is one, fio, on a disk that was
 * written before and is in the page cache. What is measured is thus the target, not a disk.
 */
final class TargetSpeed {
  private static final String QEMU = "qemu-img";
  private static final String PERF = "iscsi-perf";
  private static final String FIO = "fio";
  private static final int BLOCK = 512;
  private static final Duration GRACE = Duration.ofSeconds(60);
  private static final Pattern COMPLETED = Pattern.compile("Run completed in ([0-9.]+) seconds");

  /** Requests a second by place in its terse output of version 3; the third is the job's name. */
  private static final int FIO_READS = 7;

  private static final int FIO_WRITES = 48;

  private static final Pattern AVERAGE = Pattern.compile("iops average (\\d+)");

  /**
   * One kind of load.
   *
   * @param size bytes of a request
   * @param depth requests in flight
   */
  record Load(String client, boolean write, int size, int depth) {
    String name() {
      return String.format(
          Locale.ROOT,
          "%s %s %d KiB depth %d",
          client,
          write ? "write" : "read",
          size >> 10,
          depth);
    }
  }

  private final int seconds;
  private final Rounds rounds;
  private final Optional<String> fio;

  /** Requests a second of the run before, by which the next one is made long enough. */
  private final Map<String, Double> before = new LinkedHashMap<>();

  /**
   * @param seconds of one run
   * @param fio the program, built with its engine for libiscsi
   */
  TargetSpeed(int seconds, Rounds rounds, Optional<String> fio) {
    this.seconds = seconds;
    this.rounds = rounds;
    this.fio = fio;
  }

  static List<String> tools() {
    return List.of(QEMU, PERF);
  }

  /**
   * The loads.
   *
   * @param fio whether with those of fio, at random places; the others go from the start on
   */
  static List<Load> loads(boolean fio) {
    List<Load> loads = new ArrayList<>();
    int[][] shapes = {{4 << 10, 1}, {4 << 10, 32}, {64 << 10, 16}, {1 << 20, 8}};
    for (int[] shape : shapes) {
      if (fio) {
        loads.add(new Load(FIO, false, shape[0], shape[1]));
        loads.add(new Load(FIO, true, shape[0], shape[1]));
      }
      loads.add(new Load(QEMU, false, shape[0], shape[1]));
      loads.add(new Load(QEMU, true, shape[0], shape[1]));
      loads.add(new Load(PERF, false, shape[0], shape[1]));
    }
    return loads;
  }

  /** Prints each round, then a ratio for each load: above 1 the embedded target is faster. */
  void measure(List<Load> loads, IscsiUrl ours, IscsiUrl theirs) throws Exception {
    Map<Load, Double> ratios = new LinkedHashMap<>();
    for (Load load : loads) {
      List<List<Double>> rates = rates(load, List.of(ours, theirs), load.name());
      ratios.put(load, Medians.of(rates.getFirst()) / Medians.of(rates.getLast()));
    }
    ratios.forEach((load, ratio) -> Medians.ratio(load.name(), ratio));
  }

  /**
   * Requests a second of both in the rounds that count; prints each round.
   *
   * @param both the embedded target's disk, and tgtd's
   */
  List<List<Double>> rates(Load load, List<IscsiUrl> both, String name) throws Exception {
    List<Rounds.Kind<Double>> kinds =
        List.of(() -> rate(load, both.getFirst()), () -> rate(load, both.getLast()));
    return rounds.measure(
        kinds,
        (round, rates) ->
            System.out.printf(
                Locale.ROOT,
                "%s %s: embedded %.0f/s (%.0f MB/s), tgtd %.0f/s (%.0f MB/s)%n",
                name,
                round,
                rates.getFirst(),
                rates.getFirst() * load.size() / 1e6,
                rates.getLast(),
                rates.getLast() * load.size() / 1e6));
  }

  private double rate(Load load, IscsiUrl url) throws Exception {
    String key = load.name() + url.iqn() + url.port();
    double rate =
        switch (load.client()) {
          case QEMU -> qemu(load, url, key);
          case FIO -> fio(load, url);
          default -> perf(load, url);
        };
    before.put(key, rate);
    return rate;
  }

  private double qemu(Load load, IscsiUrl url, String key) throws Exception {
    long count = Math.clamp((long) (before.getOrDefault(key, 500.0) * seconds), 50, 10_000_000);
    List<String> command = new ArrayList<>();
    command.addAll(List.of(QEMU, "bench", "-f", "raw", "-c", Long.toString(count)));
    command.addAll(List.of("-d", Integer.toString(load.depth())));
    command.addAll(List.of("-s", Integer.toString(load.size())));
    if (load.write()) {
      command.addAll(List.of("-w", "--pattern=165"));
    }
    command.add(url.text());
    return count / number(COMPLETED, command);
  }

  private double perf(Load load, IscsiUrl url) throws Exception {
    return number(
        AVERAGE,
        List.of(
            PERF,
            "-t",
            Integer.toString(seconds),
            "-b",
            Integer.toString(load.size() / BLOCK),
            "-m",
            Integer.toString(load.depth()),
            url.text()));
  }

  private double fio(Load load, IscsiUrl url) throws Exception {
    return number(
        iops(load.write()),
        List.of(
            fio.orElse(FIO),
            "--name=load",
            "--thread",
            "--ioengine=libiscsi",
            // Colons part file names.
            "--filename=" + url.text().replace(":", "\\:"),
            "--rw=" + (load.write() ? "randwrite" : "randread"),
            "--bs=" + load.size(),
            "--iodepth=" + load.depth(),
            "--time_based",
            "--runtime=" + seconds,
            "--output-format=terse",
            "--terse-version=3"));
  }

  /** Finds the number in what fio prints. */
  static Pattern iops(boolean write) {
    int before = (write ? FIO_WRITES : FIO_READS) - 1;
    return Pattern.compile("(?m)^3;(?:[^;\\n]*;){" + before + "}(\\d+);");
  }

  private double number(Pattern wanted, List<String> command)
      throws IOException, InterruptedException {
    Ended ended = Program.run(GRACE.plusSeconds(10L * seconds), command);
    Matcher found = wanted.matcher(ended.output());
    if (ended.status().orElse(-1) != 0 || !found.find()) {
      throw new IOException(
          command.getFirst()
              + (ended.status().isEmpty() ? " does not end: " : " failed: ")
              + ended.output());
    }
    double number = Double.parseDouble(found.group(1));
    if (number <= 0) {
      throw new IOException(command.getFirst() + " measured nothing: " + ended.output());
    }
    return number;
  }
}
