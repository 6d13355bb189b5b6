package io.xenferry.bench.target;

import io.xenferry.bench.command.Tools;
import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.bench.measure.Workspace;
import io.xenferry.bench.target.Conformance.Competitor;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
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
import picocli.CommandLine.Mixin;
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
  private static final long MIB = 1 << 20;
  private static final int MOST_EXPORTS = 10_000;

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
      names = "--exports",
      paramLabel = "N",
      split = ",",
      description =
          "Numbers of disks that are exported, rising: what each costs, and what one of them does"
              + " beside the others, instead; as in 1,100,1000.")
  private List<Integer> exports = List.of();

  @Option(
      names = "--seconds",
      description = "Length of each run (default: ${DEFAULT-VALUE}).",
      defaultValue = "3")
  private int seconds = 3;

  @Option(
      names = "--fio",
      paramLabel = "PROGRAM",
      description = "A fio that was built with --enable-libiscsi, as one more client.")
  private Optional<String> fio = Optional.empty();

  @Mixin private final Rounds rounds = new Rounds(5, 2);
  @Mixin private final Workspace workspace = new Workspace(512L << 20);

  @Override
  public Integer call() throws Exception {
    if (workspace.size() % MIB != 0 || seconds < 1 || !rounds.any() || !rising(exports)) {
      System.err.println(
          "at least one round of one second, a size in MiB, and rising numbers of exports");
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
            .filter(p -> !Tools.installed(p))
            .toList();
    if (!missing.isEmpty()) {
      System.err.println(
          "cannot run without "
              + String.join(" and ", missing)
              + " (Debian: apt-get install tgt libiscsi-bin qemu-utils qemu-block-extra)");
      return CANNOT_RUN;
    }
    if (!exports.isEmpty()) {
      return crowd();
    }
    return conformance ? conform(wanted) : race(wanted);
  }

  private int race(Pattern wanted) throws Exception {
    List<TargetSpeed.Load> loads =
        TargetSpeed.loads(fio.isPresent()).stream()
            .filter(l -> wanted.matcher(l.name()).find())
            .toList();
    Path base = workspace.create();
    long bytes = workspace.size();
    try (ServedDisk ours = ServedDisk.embedded(base.resolve("embedded"), bytes, SECTOR);
        ServedDisk theirs = ServedDisk.tgtd(base.resolve("tgtd"), bytes)) {
      ours.fill();
      theirs.fill();
      new TargetSpeed(seconds, rounds, fio).measure(loads, ours.url(), theirs.url());
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private static boolean rising(List<Integer> numbers) {
    int before = 0;
    for (int number : numbers) {
      if (number <= before || number > MOST_EXPORTS) {
        return false;
      }
      before = number;
    }
    return true;
  }

  private int crowd() throws Exception {
    Path base = workspace.create();
    long bytes = workspace.size();
    try (ServedDisk ours = ServedDisk.embedded(base.resolve("embedded"), bytes, SECTOR);
        ServedDisk theirs = ServedDisk.tgtd(base.resolve("tgtd"), bytes)) {
      ours.fill();
      theirs.fill();
      new Crowd(new TargetSpeed(seconds, rounds, fio)).measure(exports, ours, theirs);
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private int conform(Pattern wanted) throws Exception {
    Conformance found = conformance(workspace.create(), wanted);
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
      Disks.deleteTree(base);
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
}
