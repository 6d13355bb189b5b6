package io.xenferry.fuzz;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code xenferry fuzz}: inputs by the thousand, bred by what they reach in the code. */
@Command(
    name = "xenferry fuzz",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    description = {
      "Feeds what reads the words of peers and clients with inputs that a fuzzer (Jazzer) breeds by",
      "the code they reach, one surface after another, and prints for each how many inputs were",
      "tried, how much code they reach, and what was found. Each surface has a process of its own."
    })
public final class FuzzCommand implements Callable<Integer> {
  private static final int HEAP_MIB = 1024;

  /** Seconds after which one input counts as a hang; no deadline of the surfaces is longer. */
  private static final int HANG = 40;

  /** Beyond what was asked for: the start, and an input that hangs. */
  private static final int GRACE = 120;

  private static final String SANITIZERS = "com.code_intelligence.jazzer.sanitizers.";

  private static final String DISABLED =
      SANITIZERS + "ServerSideRequestForgery:" + SANITIZERS + "FilePathTraversal";

  private static final Pattern FIGURES =
      Pattern.compile("#(\\d+)\\s+\\w+\\s+cov: (\\d+) ft: \\d+ corp: (\\d+)/.*");

  @Parameters(paramLabel = "SURFACE", arity = "0..*", description = "which (default: all)")
  private List<String> surfaces = List.of();

  @Option(
      names = "--seconds",
      paramLabel = "N",
      defaultValue = "60",
      description = "how long for each surface (default ${DEFAULT-VALUE})")
  private int seconds;

  @Option(
      names = "--findings",
      paramLabel = "DIR",
      description =
          "where inputs are written that break something (default: the current directory)")
  private Path findings = Path.of("");

  @Option(
      names = "--keep",
      paramLabel = "DIR",
      description =
          "writes the inputs that reach something new, as few as do, to a file per surface here")
  private @Nullable Path keep;

  @Option(
      names = "--input",
      paramLabel = "FILE",
      description = "gives this one input to the surface instead, without a fuzzer")
  private @Nullable Path input;

  @Option(names = "--list", description = "name the surfaces, and do nothing")
  private boolean list;

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  public static void main(String[] arguments) {
    System.exit(new CommandLine(new FuzzCommand()).execute(arguments));
  }

  @Override
  public Integer call() throws Exception {
    PrintWriter out = spec.commandLine().getOut();
    if (list) {
      Surfaces.names().forEach(out::println);
      out.flush();
      return 0;
    }
    List<String> chosen = chosen();
    if (input != null) {
      return once(chosen, input);
    }
    if (seconds < 1) {
      throw wrong("--seconds must be 1 or more");
    }
    Path work = Files.createTempDirectory("xenferry-fuzz");
    try {
      out.printf("%-16s %10s %8s %8s %7s  %s%n", "surface", "inputs", "per s", "edges", "kept", "");
      boolean clean = true;
      for (String surface : chosen) {
        clean &= fuzz(surface, Files.createDirectory(work.resolve(surface)), out);
      }
      return clean ? 0 : 1;
    } finally {
      delete(work);
    }
  }

  private List<String> chosen() {
    for (String name : surfaces) {
      if (!Surfaces.has(name)) {
        throw wrong("no surface is called " + name + "; there are " + Surfaces.names());
      }
    }
    if (!surfaces.isEmpty()) {
      return surfaces;
    }
    List<String> all = new ArrayList<>();
    Surfaces.names().forEach(all::add);
    return all;
  }

  private CommandLine.ParameterException wrong(String why) {
    return new CommandLine.ParameterException(spec.commandLine(), why);
  }

  private Integer once(List<String> chosen, Path file) throws Exception {
    if (chosen.size() != 1) {
      throw wrong("--input needs one surface");
    }
    Troubles troubles = Troubles.watch();
    try (Surface surface = Surfaces.open(chosen.getFirst())) {
      surface.take(Files.readAllBytes(file));
    }
    troubles.none();
    return 0;
  }

  /** Whether nothing was found. */
  private boolean fuzz(String surface, Path work, PrintWriter out) throws Exception {
    Path corpus = Files.createDirectory(work.resolve("corpus"));
    Path seeds = work.resolve("seeds");
    List<byte[]> known = new ArrayList<>(Corpus.kept(surface));
    try (Surface opened = Surfaces.open(surface)) {
      known.addAll(opened.seeds());
    }
    Corpus.unpack(known, seeds);
    Path found = findings.toAbsolutePath();
    Files.createDirectories(found);
    Path log = work.resolve("log");
    int status =
        jazzer(
            surface,
            log,
            seconds + GRACE,
            "-max_total_time=" + seconds,
            "-timeout=" + HANG,
            "-artifact_prefix=" + found + "/" + surface + "-",
            corpus.toString(),
            seeds.toString());
    String text = Files.readString(log, StandardCharsets.UTF_8);
    if (keep != null && status == 0) {
      merge(surface, work, List.of(corpus, seeds), keep);
    }
    report(surface, text, status, out);
    return status == 0;
  }

  private void merge(String surface, Path work, List<Path> from, Path to) throws Exception {
    Path least = Files.createDirectory(work.resolve("least"));
    List<String> arguments =
        new ArrayList<>(List.of("-merge=1", "-artifact_prefix=" + work + "/", least.toString()));
    from.forEach(path -> arguments.add(path.toString()));
    Path log = work.resolve("merge-log");
    int status = jazzer(surface, log, GRACE * 5, arguments.toArray(String[]::new));
    if (status != 0) {
      throw new IOException("the inputs could not be merged: " + tail(Files.readString(log)));
    }
    Files.createDirectories(to);
    Corpus.pack(least, to.resolve(Corpus.file(surface)));
  }

  private static int jazzer(String surface, Path log, int limit, String... arguments)
      throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx" + HEAP_MIB + "m",
                "-XX:+UseSerialGC",
                "-XX:+EnableDynamicAgentLoading",
                "-Djdk.attach.allowAttachSelf=true",
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                "-cp",
                System.getProperty("java.class.path"),
                "com.code_intelligence.jazzer.Jazzer",
                "--target_class=" + JazzerEntry.class.getName(),
                "--target_args=" + surface,
                "--instrumentation_includes=io.xenferry.**",
                "--instrumentation_excludes=io.xenferry.fuzz.**:io.xenferry.model.*",
                // We connect on purpose, and name no file, command or query by what comes in.
                "--disabled_hooks=" + DISABLED,
                "--reproducer_path=" + log.getParent(),
                "-rss_limit_mb=" + 3 * HEAP_MIB,
                "-print_final_stats=1"));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    try {
      if (!process.waitFor(limit, TimeUnit.SECONDS)) {
        return -1;
      }
      return process.exitValue();
    } finally {
      process.destroyForcibly();
    }
  }

  private static void report(String surface, String log, int status, PrintWriter out) {
    String inputs = "?";
    String edges = "?";
    String kept = "?";
    Matcher figures = FIGURES.matcher(log);
    while (figures.find()) {
      inputs = figures.group(1);
      edges = figures.group(2);
      kept = figures.group(3);
    }
    Matcher rate = Pattern.compile("stat::average_exec_per_sec:\\s+(\\d+)").matcher(log);
    Matcher number = Pattern.compile("stat::number_of_executed_units:\\s+(\\d+)").matcher(log);
    out.printf(
        Locale.ROOT,
        "%-16s %10s %8s %8s %7s  %s%n",
        surface,
        number.find() ? number.group(1) : inputs,
        rate.find() ? rate.group(1) : "?",
        edges,
        kept,
        status == 0 ? "" : "FOUND SOMETHING");
    if (status != 0) {
      out.println(tail(log));
    }
    out.flush();
  }

  /** From the finding on, or else the end. */
  private static String tail(String log) {
    int at = log.indexOf("== Java Exception");
    return at >= 0
        ? log.substring(at, Math.min(log.length(), at + 8000))
        : log.substring(Math.max(0, log.length() - 4000));
  }

  private static void delete(Path directory) throws IOException {
    try (Stream<Path> all = Files.walk(directory)) {
      for (Path path : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}
