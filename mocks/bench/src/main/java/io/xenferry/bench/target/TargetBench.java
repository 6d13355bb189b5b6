package io.xenferry.bench.target;

import io.xenferry.bench.target.Conformance.Competitor;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** The embedded target against tgtd: how fast, or what libiscsi's tests say of it. */
@Command(
    name = "target",
    description = "Holds the embedded iSCSI target against tgtd.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
public final class TargetBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;
  private static final long CONFORMANCE_SIZE = 128L << 20;
  private static final long LARGE = 3L << 40;
  private static final int SECTOR = 512;

  @Option(
      names = "--conformance",
      description = "Run libiscsi's tests against both, one by one, instead.")
  private boolean conformance;

  @Option(
      names = "--tests",
      description =
          "Only loads, or tests as Family.Test, whose name this regular expression finds.",
      defaultValue = "")
  private String tests = "";

  @Option(names = "--output", description = "Write the page about conformance to this file.")
  private Optional<Path> output = Optional.empty();

  @Option(
      names = "--size",
      description = "Size of each of the two disks, in MiB (default: ${DEFAULT-VALUE}).",
      defaultValue = "512")
  private int size = 512;

  @Option(
      names = "--seconds",
      description = "Length of each run (default: ${DEFAULT-VALUE}).",
      defaultValue = "3")
  private int seconds = 3;

  @Option(
      names = "--rounds",
      description = "Runs of each load against each target (default: ${DEFAULT-VALUE}).",
      defaultValue = "5")
  private int rounds = 5;

  @Option(
      names = "--warm-up",
      description = "Such runs beforehand that do not count (default: ${DEFAULT-VALUE}).",
      defaultValue = "2")
  private int warmUp = 2;

  @Option(
      names = "--directory",
      description = "Where the files go; twice the size is needed (default: a temporary one).")
  private Optional<Path> directory = Optional.empty();

  @Override
  public Integer call() throws Exception {
    if (size < 1 || seconds < 1 || rounds < 1 || warmUp < 0) {
      System.err.println("at least one round of one second on one MiB");
      return CommandLine.ExitCode.USAGE;
    }
    Pattern wanted;
    try {
      wanted = Pattern.compile(tests);
    } catch (PatternSyntaxException e) {
      System.err.println("--tests: " + e.getMessage());
      return CommandLine.ExitCode.USAGE;
    }
    List<String> tools = conformance ? List.of("iscsi-test-cu") : TargetSpeed.tools();
    List<String> missing =
        Stream.concat(Stream.of("tgtd", "tgtadm"), tools.stream())
            .filter(p -> !Program.installed(p))
            .toList();
    if (!missing.isEmpty()) {
      System.err.println(
          "cannot run without "
              + String.join(" and ", missing)
              + " (Debian: apt-get install tgt libiscsi-bin qemu-utils qemu-block-extra)");
      return CANNOT_RUN;
    }
    return conformance ? conform(wanted) : race(wanted);
  }

  private int race(Pattern wanted) throws Exception {
    List<TargetSpeed.Load> loads =
        TargetSpeed.loads().stream().filter(l -> wanted.matcher(l.name()).find()).toList();
    Path base = base();
    long bytes = (long) size << 20;
    try (ServedDisk ours = ServedDisk.embedded(base.resolve("embedded"), bytes, SECTOR);
        ServedDisk theirs = ServedDisk.tgtd(base.resolve("tgtd"), bytes)) {
      ours.fill();
      theirs.fill();
      new TargetSpeed(seconds, rounds, warmUp).measure(loads, ours.url(), theirs.url());
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      deleteTree(base);
    }
  }

  private int conform(Pattern wanted) throws Exception {
    Conformance found = conformance(base(), wanted);
    if (output.isPresent()) {
      Files.writeString(output.get(), page(found));
    }
    System.out.print(found.table());
    List<String> behind = found.behindTgtd();
    System.out.println("passed by tgtd and failed by ours: " + behind.size());
    behind.forEach(test -> System.out.println("  " + test));
    System.out.println("passed by tgtd and left off with ours: " + found.leftOff().size());
    found.leftOff().forEach(test -> System.out.println("  " + test));
    return behind.isEmpty() ? 0 : 1;
  }

  private Path base() throws IOException {
    return directory.isPresent()
        ? Files.createTempDirectory(Files.createDirectories(directory.get()), "bench")
        : Files.createTempDirectory("xenferry-bench");
  }

  /**
   * Runs the tests.
   *
   * @param base a directory that is deleted afterwards
   * @param wanted finds the names of the tests to run
   */
  static Conformance conformance(Path base, Pattern wanted) throws Exception {
    try {
      Map<String, Competitor> competitors = new LinkedHashMap<>();
      competitors.put(
          Conformance.OURS,
          () -> ServedDisk.embedded(base.resolve("embedded"), CONFORMANCE_SIZE, SECTOR));
      competitors.put(
          Conformance.OURS + ", 4,096-byte blocks",
          () -> ServedDisk.embedded(base.resolve("coarse"), CONFORMANCE_SIZE, 4096));
      competitors.put(
          Conformance.OURS + ", 3 TiB",
          () -> ServedDisk.embedded(base.resolve("large"), LARGE, SECTOR));
      competitors.put(
          Conformance.TGTD, () -> ServedDisk.tgtd(base.resolve("tgtd"), CONFORMANCE_SIZE));
      return Conformance.measure(
          ScsiTests.list(wanted.asPredicate()),
          competitors,
          (competitor, test, verdict) -> {
            if (!verdict.passed()) {
              System.err.println(
                  competitor + ": " + test + " " + verdict.outcome() + ": " + verdict.remark());
            }
          });
    } finally {
      deleteTree(base);
    }
  }

  /** What explains the table, and the table. */
  static String page(Conformance found) throws IOException {
    try (InputStream in = TargetBench.class.getResourceAsStream("conformance.md")) {
      if (in == null) {
        throw new IOException("conformance.md is missing from the class path");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8) + "\n" + found.table();
    }
  }

  private static void deleteTree(Path directory) throws IOException {
    List<Path> all;
    try (Stream<Path> tree = Files.walk(directory)) {
      all = tree.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path path : all) {
      Files.deleteIfExists(path);
    }
  }
}
