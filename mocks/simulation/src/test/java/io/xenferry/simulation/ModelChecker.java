package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

/**
 * Runs SPIN on a model: generates the checker, compiles and runs it, each with a deadline, and the
 * checker with a limit of memory. Everything is left in the given directory.
 */
final class ModelChecker {
  /** What one checker may use, in MiB; it stops by itself there, and says so. */
  private static final int MEMORY = 3000;

  private static final long MINUTES = 10;

  private static final Path MODELS = Path.of("src/test/promela");
  private static final Pattern PROMISE =
      Pattern.compile("(?:PROMISE|assert)\\(((?!name\\b|the_goal)\\w+)[,)]");
  private static final Pattern STATES =
      Pattern.compile("(\\d+(?:\\.\\d+)?(?:e\\+\\d+)?) states, stored");
  private static final Pattern TRANSITIONS =
      Pattern.compile("(\\d+(?:\\.\\d+)?(?:e\\+\\d+)?) transitions");
  private static final Pattern VIOLATED = Pattern.compile("assertion violated (\\S+)");

  /**
   * How a search came out.
   *
   * @param violated the name of the promise that was broken; empty when all of the states were seen
   *     and none was
   * @param trace the actions that lead there
   */
  record Outcome(long states, long transitions, Optional<String> violated, String trace) {}

  private final Path directory;

  ModelChecker(Path directory) {
    this.directory = directory;
  }

  /** Skips the test where SPIN or a compiler is not installed, unless tools are required. */
  static void require() {
    boolean there = onPath("spin") && onPath("cc");
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(there, "there is no spin, or no cc");
    }
    assertThat(there).as("spin and cc are installed").isTrue();
  }

  /** What a model promises, by the names that a search tells. */
  static Set<String> promises(String model) throws IOException {
    Set<String> names = new TreeSet<>();
    Matcher promise = PROMISE.matcher(Files.readString(MODELS.resolve(model)));
    while (promise.find()) {
      names.add(promise.group(1));
    }
    return names;
  }

  private static boolean onPath(String tool) {
    for (String place : System.getenv("PATH").split(File.pathSeparator, -1)) {
      if (Files.isExecutable(Path.of(place, tool))) {
        return true;
      }
    }
    return false;
  }

  /**
   * Searches all states of a model.
   *
   * @param model a file of {@code src/test/promela}
   * @param definitions bounds and a variant, as the preprocessor's {@code NAME} or {@code NAME=n}
   */
  Outcome check(String model, List<String> definitions) throws Exception {
    return search(model, definitions, "-O2", List.of("-DSAFETY"), List.of());
  }

  /** The same, sooner compiled: for a search of a moment. */
  Outcome checkSmall(String model, List<String> definitions) throws Exception {
    return search(model, definitions, "-O0", List.of("-DSAFETY"), List.of("-w18"));
  }

  /** Looks for a run that never ends. */
  Outcome checkForCycles(String model, List<String> definitions) throws Exception {
    return search(model, definitions, "-O2", List.of("-DNP"), List.of("-l"));
  }

  /**
   * Searches all states of the model that is in the directory already.
   *
   * @return what the checker said; no promise is broken
   */
  String replay(List<String> definitions) throws Exception {
    List<String> generate = new ArrayList<>(List.of("spin", "-a"));
    definitions.forEach(name -> generate.add("-D" + name));
    generate.add("model.pml");
    run(generate);
    run(
        List.of(
            "cc",
            "-O0",
            "-w",
            "-o",
            "pan",
            "pan.c",
            "-DNOREDUCE",
            "-DSAFETY",
            "-DMEMLIM=" + MEMORY));
    String said = run(List.of("./pan", "-n", "-m100000"));
    Outcome outcome = read(said);
    assertThat(outcome.violated()).as(outcome.trace()).isEmpty();
    return said;
  }

  private Outcome search(
      String model,
      List<String> definitions,
      String optimization,
      List<String> compilation,
      List<String> options)
      throws Exception {
    Files.copy(MODELS.resolve(model), directory.resolve("model.pml"));
    List<String> generate = new ArrayList<>(List.of("spin", "-a"));
    definitions.forEach(name -> generate.add("-D" + name));
    generate.add("model.pml");
    run(generate);

    List<String> compile = new ArrayList<>(List.of("cc", optimization, "-w", "-o", "pan", "pan.c"));
    // One process: there is no order of independent steps to be reduced.
    compile.addAll(List.of("-DNOREDUCE", "-DMEMLIM=" + MEMORY));
    compile.addAll(compilation);
    run(compile);

    List<String> check = new ArrayList<>(List.of("./pan", "-n", "-m10000"));
    check.addAll(options);
    return read(run(check));
  }

  private Outcome read(String output) throws Exception {
    assertThat(output)
        .as("a search of all states, and none taken for another")
        .contains("Full statespace search for:")
        .doesNotContain(
            "Bit statespace", "Hash-Compact", "search depth too small", "MEMLIM", "out of memory");
    Matcher violated = VIOLATED.matcher(output);
    if (violated.find()) {
      assertThat(output).contains("errors: 1");
      return new Outcome(
          number(STATES, output),
          number(TRANSITIONS, output),
          Optional.of(violated.group(1)),
          run(List.of("./pan", "-r")));
    }
    assertThat(output)
        .as("no other error, and nothing left unseen")
        .contains("errors: 0")
        .doesNotContain("Search not completed", "truncated");
    return new Outcome(number(STATES, output), number(TRANSITIONS, output), Optional.empty(), "");
  }

  private static long number(Pattern pattern, String output) {
    Matcher found = pattern.matcher(output);
    assertThat(found.find()).as(output).isTrue();
    return (long) Double.parseDouble(found.group(1).toLowerCase(Locale.ROOT));
  }

  private String run(List<String> command) throws IOException, InterruptedException {
    Path output = directory.resolve(Path.of(command.getFirst()).getFileName() + ".out");
    Process process =
        new ProcessBuilder(command)
            .directory(directory.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      assertThat(process.waitFor(MINUTES, TimeUnit.MINUTES)).as("%s ends", command).isTrue();
    } finally {
      process.destroyForcibly();
    }
    String said = Files.readString(output, StandardCharsets.UTF_8);
    if (!command.getFirst().equals("./pan")) {
      assertThat(process.exitValue()).as("%s: %s", command, said).isZero();
    }
    return said;
  }
}
