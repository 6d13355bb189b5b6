package io.xenferry.simulation;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code xenferry simulate}: thousands of migrations with faults everywhere. */
@Command(
    name = "xenferry simulate",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    description = {
      "Runs the coordinator, ledger, gate, peers' protocol, copy engine and the API's tasks and",
      "queue in a simulated world with faults everywhere, one world per seed, and prints which",
      "faults have met which states.",
      "A failing seed is told with what happened last and how both hosts stand, and can be",
      "replayed, task for task: docs/simulation.md says how to read it and make it a test."
    })
public final class SimulateCommand implements Callable<Integer> {
  /** Of a failing seed's trace, besides the first: what came before the end, and how it stands. */
  private static final int LINES = 60;

  @Option(
      names = "--seeds",
      paramLabel = "N",
      defaultValue = "10000",
      description = "how many seeds (default ${DEFAULT-VALUE})")
  private int seeds;

  @Option(
      names = "--first",
      paramLabel = "S",
      defaultValue = "1",
      description = "the first seed (default ${DEFAULT-VALUE})")
  private long first;

  @Option(
      names = "--threads",
      paramLabel = "T",
      description = "seeds at a time (default: the processors of this machine)")
  private int threads = Runtime.getRuntime().availableProcessors();

  @Option(names = "--trace", description = "print what happens, for every seed")
  private boolean trace;

  @Option(names = "--verbose", description = "show the product's log, on standard error")
  private boolean verbose;

  @Option(
      names = "--bench",
      description =
          "measure instead what a migration costs: by disks, by writes, and beside others")
  private boolean bench;

  @Option(
      names = "--seconds",
      paramLabel = "S",
      defaultValue = "2",
      description = "with --bench: processor time for each line (default ${DEFAULT-VALUE})")
  private double seconds;

  @Option(
      names = "--variant",
      defaultValue = "SOUND",
      description = "a deliberately broken product: ${COMPLETION-CANDIDATES}")
  private Variant variant = Variant.SOUND;

  @Spec private @org.jspecify.annotations.Nullable CommandSpec spec;

  public static void main(String[] args) {
    // Its own, whatever the door says: warnings of faults that were made on purpose warn of
    // nothing.
    System.setProperty("logback.configurationFile", "xenferry-simulation-logback.xml");
    System.exit(new CommandLine(new SimulateCommand()).execute(args));
  }

  /** 0 when every promise held in every seed and every fault met every state, 1 otherwise. */
  @Override
  public Integer call() throws InterruptedException {
    PrintWriter out =
        spec == null ? new PrintWriter(System.out, true) : spec.commandLine().getOut();
    if (verbose) {
      System.setProperty("xenferry.simulation.log", "INFO"); // before the first logger is made
    }
    checkSeeds();
    if (bench) {
      new SimulationBench(out, seconds).run();
      return 0;
    }
    int used = trace ? 1 : Math.max(1, threads);
    long began = System.nanoTime();
    Tally tally = trace ? traced(out) : Tally.of(first, seeds, variant, used);
    double seconds = (System.nanoTime() - began) / 1e9;
    tally.failures().forEach(failure -> report(out, failure));
    out.printf(
        "%d seeds, %d migrations in %.1f s: %.0f migrations/s, %.0f for each of %d threads;"
            + " %.1f million events, %.1f h simulated%n",
        tally.seeds(),
        tally.migrations(),
        seconds,
        tally.migrations() / seconds,
        tally.migrations() / seconds / used,
        used,
        tally.events() / 1e6,
        tally.virtualSeconds() / 3600);
    tally.counts().forEach((what, count) -> out.printf("%9d  %s%n", count, what));
    tally.coverage().table().forEach(out::println);
    List<String> wrong = tally.coverage().wrong();
    boolean judged = variant == Variant.SOUND && tally.seeds() >= Coverage.JUDGED_FROM;
    if (judged) {
      wrong.forEach(out::println);
    } else {
      out.printf(
          "%d cells are not as they must be from %d seeds on; fewer are not judged%n",
          wrong.size(), Coverage.JUDGED_FROM);
    }
    out.println(
        tally.failed() == 0 ? "every promise held" : tally.failed() + " seeds broke a promise");
    out.flush();
    return tally.failed() == 0 && !(judged && !wrong.isEmpty()) ? 0 : 1;
  }

  /** None at all would keep every promise. */
  private void checkSeeds() {
    if (spec != null && (seeds < 1 || first > Long.MAX_VALUE - seeds)) {
      throw new CommandLine.ParameterException(
          spec.commandLine(),
          seeds < 1
              ? "--seeds takes a number from 1 on, not " + seeds
              : "--first is too large for " + seeds + " seeds: " + first);
    }
  }

  private Tally traced(PrintWriter out) {
    Tally tally = new Tally();
    for (long seed = first; seed < first + seeds; seed++) {
      List<String> lines = new ArrayList<>();
      tally.add(Simulation.run(seed, variant, lines));
      out.println("seed " + seed + ":");
      lines.forEach(out::println);
    }
    return tally;
  }

  private void report(PrintWriter out, Simulation.Result result) {
    out.printf("seed %d: %s%n", result.seed(), result.violation().orElse(""));
    out.printf(
        "replay: ./xenferry simulate --first %d --seeds 1 --trace%s%n",
        result.seed(), variant == Variant.SOUND ? "" : " --variant " + variant);
    if (!trace) {
      List<String> lines = new ArrayList<>();
      Simulation.run(result.seed(), variant, lines);
      int from = Math.max(1, lines.size() - LINES);
      out.println("  " + lines.getFirst());
      out.println("  …");
      lines.subList(from, lines.size()).forEach(line -> out.println("  " + line));
    }
  }
}
