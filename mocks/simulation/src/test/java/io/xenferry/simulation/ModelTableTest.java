package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The tables of {@code docs/model.md}: each action of a model, and the method that does it. */
class ModelTableTest {
  private static final Path ROOT = Path.of("..", "..");
  private static final Pattern ROW = Pattern.compile("(?m)^\\| `([a-z_]+)` \\| ([^|]+) \\|");
  private static final Pattern METHOD = Pattern.compile("`([A-Z]\\w+)\\.(\\w+)`");
  private static final Pattern ACTION =
      Pattern.compile("(?m)^inline (\\w+)\\((\\w*)\\) \\{\\n  printf");

  private static String section(String model) throws IOException {
    String page = Files.readString(ROOT.resolve("docs/model.md"));
    int from = page.indexOf("\n## Actions of `" + model + "`");
    assertThat(from).as(model).isNotNegative();
    int to = page.indexOf("\n## ", from + 4);
    return page.substring(from, to < 0 ? page.length() : to);
  }

  private static Map<String, String> rows(String model) throws IOException {
    Map<String, String> rows = new LinkedHashMap<>();
    for (MatchResult row : ROW.matcher(section(model)).results().toList()) {
      assertThat(rows.put(row.group(1), row.group(2))).as(row.group(1)).isNull();
    }
    return rows;
  }

  @ParameterizedTest
  @CsvSource({"ownership.pml", "writes.pml"})
  void eachActionHasALine(String model) throws IOException {
    String text = Files.readString(Path.of("src/test/promela", model));
    TreeSet<String> actions = new TreeSet<>();
    ACTION.matcher(text).results().forEach(action -> actions.add(action.group(1)));
    assertThat(actions).hasSizeGreaterThan(10);
    assertThat(rows(model).keySet()).containsExactlyInAnyOrderElementsOf(actions);
  }

  @ParameterizedTest
  @CsvSource({"ownership.pml", "writes.pml"})
  void eachMethodIsThere(String model) throws IOException {
    Map<String, Path> classes = new LinkedHashMap<>();
    for (String module : List.of("xmlrpc-server", "sm-plugin", "mocks")) {
      try (Stream<Path> files = Files.walk(ROOT.resolve(module))) {
        files
            .filter(file -> file.toString().contains("src/main/java"))
            .filter(file -> file.toString().endsWith(".java"))
            .forEach(file -> classes.put(file.getFileName().toString().replace(".java", ""), file));
      }
    }
    int named = 0;
    for (Map.Entry<String, String> row : rows(model).entrySet()) {
      for (MatchResult method : METHOD.matcher(row.getValue()).results().toList()) {
        Path file = classes.get(method.group(1));
        assertThat(file).as("%s: the class %s", row.getKey(), method.group(1)).isNotNull();
        assertThat(Files.readString(file))
            .as("%s: %s", row.getKey(), method.group())
            .containsPattern("(?m)^ {2,6}[\\w@<>?, .]+ " + method.group(2) + "\\(");
        named++;
      }
    }
    assertThat(named).isGreaterThan(10);
  }

  @Test
  void eachBrokenVariantIsExplainedAndInItsModel() throws IOException {
    String page = Files.readString(ROOT.resolve("docs/model.md"));
    for (ModelTest.Broken variant : ModelTest.Broken.values()) {
      assertThat(page).contains("| `" + variant.name() + "` |").contains(variant.promise);
      assertThat(Files.readString(Path.of("src/test/promela", variant.model)))
          .contains(variant.name());
    }
    for (ModelTest.Broken variant : ModelTest.Broken.values()) {
      boolean simulated =
          Stream.of(Variant.values()).anyMatch(known -> known.name().equals(variant.name()));
      String who = simulated ? "both" : "the model";
      assertThat(page).containsPattern("`" + variant + "` \\|[^\n]*\\| " + who + " \\|\n");
    }
    assertThat(
            Stream.of(Variant.values())
                .filter(variant -> variant != Variant.SOUND)
                // What the hypervisor notes is in no model, nor the target service's own journal.
                .filter(variant -> variant != Variant.CLOSED_EXPORT_NOT_JOURNALED)
                .filter(variant -> variant != Variant.BITMAP_FORGOTTEN_AT_A_RESTART)
                .filter(variant -> variant != Variant.RESET_NOT_NOTED)
                // Nor is there a client.
                .filter(variant -> variant != Variant.CANCEL_ANSWERED_BEFORE_THE_DECISION)
                .filter(variant -> variant != Variant.TASKS_NOT_ADOPTED)
                .filter(variant -> variant != Variant.OPERATIONS_NOT_FORGOTTEN)
                .filter(variant -> variant != Variant.ONE_PLACE_TOO_MANY))
        .extracting(Variant::name)
        .as("the model has each of the simulation's")
        .isSubsetOf(Stream.of(ModelTest.Broken.values()).map(Enum::name).toList());
    for (ModelTest.Configuration configuration : ModelTest.Configuration.values()) {
      assertThat(page).contains("| `" + configuration.name() + "` |");
    }
  }
}
