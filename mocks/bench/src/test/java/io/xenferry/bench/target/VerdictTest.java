package io.xenferry.bench.target;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.bench.target.Program.Ended;
import io.xenferry.bench.target.Verdict.Outcome;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class VerdictTest {
  private static final String HEAD =
      "    [SKIPPED] REPORT_SUPPORTED_OPCODES is not implemented.\n"
          + "Suite: Read6\n  Test: BeyondEol ...";

  private static Ended ended(String body, int passed, int failed) {
    return new Ended(
        OptionalInt.of(0),
        HEAD
            + body
            + "\n\nRun Summary:    Type  Total    Ran Passed Failed Inactive\n"
            + "              suites      1      1    n/a      0        0\n"
            + String.format("               tests      1      1 %6d %6d        0%n", passed, failed)
            + "             asserts      2      2      2      0      n/a\n");
  }

  private static Verdict verdict(Outcome outcome) {
    return new Verdict(outcome, "");
  }

  @Test
  void tellsHowATestEnded() {
    assertThat(Verdict.of(ended("passed", 1, 0))).isEqualTo(new Verdict(Outcome.PASSED, ""));
    assertThat(Verdict.of(ended("    [SKIPPED] SANITIZE is not implemented.\npassed", 1, 0)))
        .isEqualTo(new Verdict(Outcome.SKIPPED, "SANITIZE is not implemented."));
    assertThat(Verdict.of(ended("    [FAILED] a | b\nFAILED", 0, 1)))
        .isEqualTo(new Verdict(Outcome.FAILED, "a / b"));
    assertThat(Verdict.of(ended("", 0, 0)).outcome()).isEqualTo(Outcome.CRASHED);
    assertThat(Verdict.of(new Ended(OptionalInt.of(139), HEAD)))
        .isEqualTo(new Verdict(Outcome.CRASHED, "ends with 139"));
    assertThat(Verdict.of(new Ended(OptionalInt.empty(), HEAD)).outcome()).isEqualTo(Outcome.HUNG);
  }

  @Test
  void readsTheListOfTests() {
    assertThat(ScsiTests.names("ALL\nALL.Read6\nALL.Read6.Simple\nSCSI.Read6.Simple\n"))
        .containsExactly("Read6.Simple");
  }

  @Test
  void namesWhatTgtdPassesAndWeDoNot() {
    Map<String, Map<String, Verdict>> verdicts = new LinkedHashMap<>();
    verdicts.put("a.b", row(Outcome.PASSED, Outcome.PASSED));
    verdicts.put("c.d", row(Outcome.SKIPPED, Outcome.PASSED));
    verdicts.put("e.f", row(Outcome.FAILED, Outcome.SKIPPED));
    verdicts.put("g.h", row(Outcome.HUNG, Outcome.PASSED));
    Conformance found = new Conformance(verdicts);

    assertThat(found.leftOff()).isEqualTo(List.of("c.d"));
    assertThat(found.behindTgtd()).isEqualTo(List.of("g.h"));
    assertThat(found.table())
        .contains("| passed | 1 | 3 |")
        .contains("| c.d | – | passed |")
        .contains("| e.f | **failed** | – |");
  }

  private static Map<String, Verdict> row(Outcome ours, Outcome theirs) {
    Map<String, Verdict> row = new LinkedHashMap<>();
    row.put(Conformance.OURS, verdict(ours));
    row.put(Conformance.TGTD, verdict(theirs));
    return row;
  }
}
