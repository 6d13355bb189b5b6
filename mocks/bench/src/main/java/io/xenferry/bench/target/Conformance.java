package io.xenferry.bench.target;

import io.xenferry.bench.target.Verdict.Outcome;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * What all tests say of all who compete.
 *
 * @param verdicts by test and competitor, each in order; every test has all competitors
 */
record Conformance(Map<String, Map<String, Verdict>> verdicts) {
  static final String OURS = "embedded";
  static final String TGTD = "tgtd";

  /** Who offers a disk, under a name that begins with {@link #OURS} or {@link #TGTD}. */
  interface Competitor {
    ServedDisk start() throws Exception;
  }

  /** What becomes known meanwhile. */
  interface Progress {
    void told(String competitor, String test, Verdict verdict);
  }

  static Conformance measure(
      List<String> tests, Map<String, Competitor> competitors, Progress progress) throws Exception {
    Map<String, Map<String, Verdict>> verdicts = new LinkedHashMap<>();
    tests.forEach(test -> verdicts.put(test, new LinkedHashMap<>()));
    for (Map.Entry<String, Competitor> competitor : competitors.entrySet()) {
      try (ServedDisk disk = competitor.getValue().start()) {
        for (Map.Entry<String, Map<String, Verdict>> row : verdicts.entrySet()) {
          Verdict verdict = ScsiTests.run(row.getKey(), disk);
          row.getValue().put(competitor.getKey(), verdict);
          progress.told(competitor.getKey(), row.getKey(), verdict);
        }
      }
    }
    return new Conformance(verdicts);
  }

  /** Tests that tgtd passes and ours, with the same shape of disk, fails. */
  List<String> behindTgtd() {
    return onlyTgtdPasses(false);
  }

  /** Tests that tgtd passes, and that left off with ours. */
  List<String> leftOff() {
    return onlyTgtdPasses(true);
  }

  private List<String> onlyTgtdPasses(boolean skipped) {
    return verdicts.entrySet().stream()
        .filter(row -> of(row.getValue(), TGTD).passed())
        .filter(row -> !of(row.getValue(), OURS).passed())
        .filter(row -> (of(row.getValue(), OURS).outcome() == Outcome.SKIPPED) == skipped)
        .map(Map.Entry::getKey)
        .toList();
  }

  private static Verdict of(Map<String, Verdict> row, String competitor) {
    return Objects.requireNonNull(row.get(competitor), competitor);
  }

  private List<String> competitors() {
    return verdicts.values().stream()
        .findFirst()
        .map(m -> List.copyOf(m.keySet()))
        .orElse(List.of());
  }

  private long count(String competitor, Outcome outcome) {
    return verdicts.values().stream().filter(v -> of(v, competitor).outcome() == outcome).count();
  }

  /** The counts, then every test, then what those say that ours did not pass; in Markdown. */
  String table() {
    StringBuilder page = new StringBuilder();
    List<String> competitors = competitors();
    String head = String.join(" | ", competitors);
    String rule = "|---".repeat(competitors.size() + 1) + "|\n";
    page.append("| | ").append(head).append(" |\n").append(rule);
    for (Outcome outcome : Outcome.values()) {
      page.append("| ").append(outcome.text);
      competitors.forEach(c -> page.append(" | ").append(count(c, outcome)));
      page.append(" |\n");
    }
    page.append("\n| test | ").append(head).append(" |\n").append(rule);
    verdicts.forEach((test, row) -> {
      page.append("| ").append(test);
      competitors.forEach(c -> page.append(" | ").append(of(row, c).outcome().text));
      page.append(" |\n");
    });
    page.append("\n| not passed | by | what the test says |\n|---|---|---|\n");
    verdicts.forEach((test, row) ->
        row.forEach((competitor, verdict) -> {
          boolean worthSaying = competitor.equals(OURS) || verdict.outcome() != Outcome.SKIPPED;
          if (!verdict.passed() && worthSaying) {
            page.append("| ").append(test).append(" | ").append(competitor).append(" | ");
            page.append(verdict.remark()).append(" |\n");
          }
        }));
    return page.toString();
  }
}
