package io.xenferry.bench.target;

import io.xenferry.bench.target.Program.Ended;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What one test of {@code iscsi-test-cu} says of a target.
 *
 * @param remark why it did not pass, in the test's words; empty when it passed
 */
record Verdict(Outcome outcome, String remark) {
  private static final Pattern TESTS =
      Pattern.compile("(?m)^ +tests +\\d+ +(\\d+) +(?<passed>\\d+) +(?<failed>\\d+) ");
  private static final Pattern REMARK = Pattern.compile("\\[(?:FAILED|SKIPPED)] *([^\\n]+)");
  private static final String TEST = "\n  Test: ";
  private static final int MAX_REMARK = 160;

  enum Outcome {
    PASSED("passed"),
    /** The test found that the target cannot do this, and left it at that. */
    SKIPPED("–"),
    FAILED("**failed**"),
    /** The client did not end in time. */
    HUNG("**hung**"),
    /** The client ended without a result. */
    CRASHED("**crashed**");

    final String text;

    Outcome(String text) {
      this.text = text;
    }
  }

  boolean passed() {
    return outcome == Outcome.PASSED;
  }

  static Verdict of(Ended ended) {
    String output = ended.output();
    // Before it the client asks for what it may need, and complains of that too.
    String told = output.substring(Math.max(0, output.indexOf(TEST)));
    if (ended.status().isEmpty()) {
      return new Verdict(Outcome.HUNG, remark(told).orElse("does not end"));
    }
    Matcher tests = TESTS.matcher(output);
    if (!tests.find()) {
      return new Verdict(Outcome.CRASHED, "ends with " + ended.status().getAsInt());
    }
    if (!tests.group("failed").equals("0")) {
      return new Verdict(Outcome.FAILED, remark(told).orElse("an assertion of the test"));
    }
    if (tests.group("passed").equals("0")) {
      return new Verdict(Outcome.CRASHED, "no such test was run");
    }
    return told.contains("[SKIPPED]")
        ? new Verdict(Outcome.SKIPPED, remark(told).orElse(""))
        : new Verdict(Outcome.PASSED, "");
  }

  /** The first thing that it complains about. */
  private static Optional<String> remark(String output) {
    Matcher said = REMARK.matcher(output);
    if (!said.find()) {
      return Optional.empty();
    }
    String text = said.group(1).strip().replace("|", "/");
    return Optional.of(text.length() <= MAX_REMARK ? text : text.substring(0, MAX_REMARK) + "…");
  }
}
