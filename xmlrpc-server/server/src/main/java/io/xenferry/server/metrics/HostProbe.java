package io.xenferry.server.metrics;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.OptionalDouble;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What this host uses, as Linux tells it in /proc. Not thread-safe. */
final class HostProbe {
  private static final Logger log = LoggerFactory.getLogger(HostProbe.class);

  /** Of the numbers in a line of /proc/stat (proc(5)): idle, and idle while waiting for a disk. */
  private static final int IDLE = 4;

  private static final int IOWAIT = 5;

  /** The last that is not counted in another of them. */
  private static final int STEAL = 8;

  private final Path proc;
  private final Owner owner;
  private final Figures figures;
  private final Rates rates = new Rates();
  private boolean told;

  HostProbe(Path proc, Owner owner, Figures figures) {
    this.proc = proc;
    this.owner = owner;
    this.figures = figures;
  }

  /**
   * @param seconds since 1970
   * @param interfaces of which figures are wanted
   */
  void look(long seconds, long nanoTime, Collection<String> interfaces) {
    try {
      processors(seconds);
      memory(seconds);
      String load = lines("loadavg").getFirst().split(" ")[0];
      figures.add(owner, "loadavg", seconds, Double.parseDouble(load));
      network(seconds, nanoTime, interfaces);
      told = false;
    } catch (IOException | RuntimeException e) {
      if (!told) {
        log.warn("some figures of this host cannot be had", e);
        told = true;
      }
    }
  }

  private List<String> lines(String file) throws IOException {
    return Files.readAllLines(proc.resolve(file), StandardCharsets.ISO_8859_1);
  }

  private void processors(long seconds) throws IOException {
    for (String line : lines("stat")) {
      if (line.startsWith("cpu")) {
        String[] words = line.split(" +");
        double all = 0;
        double idle = 0;
        for (int i = 1; i <= STEAL && i < words.length; i++) {
          double ticks = Double.parseDouble(words[i]);
          all += ticks;
          idle += i == IDLE || i == IOWAIT ? ticks : 0;
        }
        OptionalDouble time = rates.growth(words[0] + " time", all);
        OptionalDouble unused = rates.growth(words[0] + " idle", idle);
        if (time.isPresent() && unused.isPresent() && time.getAsDouble() > 0) {
          figures.add(
              owner,
              words[0].equals("cpu") ? "cpu_avg" : words[0],
              seconds,
              Math.clamp(1 - unused.getAsDouble() / time.getAsDouble(), 0, 1));
        }
      }
    }
  }

  private void memory(long seconds) throws IOException {
    for (String line : lines("meminfo")) {
      String[] words = line.split("\\s+");
      switch (words[0]) {
        case "MemTotal:" ->
            figures.add(owner, "memory_total_kib", seconds, Double.parseDouble(words[1]));
        // What can be had without swapping, and not only what nothing lies in.
        case "MemAvailable:" ->
            figures.add(owner, "memory_free_kib", seconds, Double.parseDouble(words[1]));
        default -> {}
      }
    }
  }

  private void network(long seconds, long nanoTime, Collection<String> interfaces)
      throws IOException {
    for (String line : lines("net/dev")) {
      int colon = line.indexOf(':');
      if (colon > 0 && interfaces.contains(line.substring(0, colon).strip())) {
        String name = "pif_" + line.substring(0, colon).strip();
        String[] words = line.substring(colon + 1).strip().split(" +");
        rates
            .rate(name + "_rx", nanoTime, Double.parseDouble(words[0]))
            .ifPresent(rate -> figures.add(owner, name + "_rx", seconds, rate));
        rates
            .rate(name + "_tx", nanoTime, Double.parseDouble(words[8]))
            .ifPresent(rate -> figures.add(owner, name + "_tx", seconds, rate));
      }
    }
  }
}
