package io.xenferry.bench.target;

import io.xenferry.bench.command.Tools;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** The tests of {@code iscsi-test-cu}, one process each: some of them hang, or end the client. */
final class ScsiTests {
  /** The longest takes some 3 seconds. */
  private static final Duration DEADLINE = Duration.ofSeconds(30);

  private static final String CLIENT = "iscsi-test-cu";

  private ScsiTests() {}

  static boolean installed() {
    return Tools.installed(CLIENT);
  }

  /** Their names, as Family.Test. */
  static List<String> list(Predicate<String> wanted) throws IOException, InterruptedException {
    return names(Program.run(DEADLINE, List.of(CLIENT, "--list")).output()).stream()
        .filter(wanted)
        .toList();
  }

  static List<String> names(String list) {
    return list.lines()
        .map(String::strip)
        .filter(line -> line.matches("ALL\\.[^.]+\\.[^.]+"))
        .map(line -> line.substring("ALL.".length()))
        .toList();
  }

  /** Lets a test loose on a disk; those of several paths use two sessions to the same one. */
  static Verdict run(String test, ServedDisk disk) throws Exception {
    String url = disk.url().text();
    List<String> command = new ArrayList<>();
    command.addAll(List.of(CLIENT, "--dataloss", "--allow-sanitize", "--test", "ALL." + test, url));
    if (test.startsWith("MultipathIO.")) {
      command.add(url);
    }
    Verdict verdict = Verdict.of(Program.run(DEADLINE, command));
    if (!verdict.passed()) {
      // What it was about to undo, a reservation for one, must not trouble those after it.
      disk.renew();
    }
    return verdict;
  }
}
