package io.xenferry.migration.preflight;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.model.ErrorCode;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The table of obstacles makes sense, and docs/preflight.md has all of it. */
class ObstacleTableTest {
  private static final String HEAD = "| kind | seen by | code | what | what to do |\n";

  /** Known to clients, though the data model has no entry for it. */
  private static final String UNLISTED = "IMPORT_ERROR_GENERIC";

  @ParameterizedTest
  @EnumSource(ObstacleKind.class)
  void aKindHasACodeOfTheDataModelWithTheParametersThatItsSentenceNames(ObstacleKind kind) {
    assertThat(kind.remedy()).matches("[A-Z].*\\.");
    assertThat(kind.seenBy(Role.SOURCE) || kind.seenBy(Role.DESTINATION)).isTrue();
    if (kind.code().isEmpty()) {
      assertThat(kind == ObstacleKind.OTHER || !kind.blocks()).isTrue();
      return;
    }
    assertThat(kind.blocks()).isTrue();
    int params = kind.code().equals(UNLISTED) ? 1 : ErrorCode.valueOf(kind.code()).params().size();
    Matcher place = Pattern.compile("\\{([0-9])}").matcher(kind.sentence());
    while (place.find()) {
      assertThat(Integer.parseInt(place.group(1))).as(kind.code()).isLessThan(params);
    }
  }

  private static String table() {
    StringBuilder table = new StringBuilder(HEAD).append("|---|---|---|---|---|\n");
    for (ObstacleKind kind : ObstacleKind.values()) {
      List<String> sides = new ArrayList<>();
      for (Role side : EnumSet.allOf(Role.class)) {
        if (kind.seenBy(side)) {
          sides.add(side.name().toLowerCase(Locale.ROOT));
        }
      }
      table
          .append("| `")
          .append(kind.name().toLowerCase(Locale.ROOT).replace('_', '-'))
          .append("` | ")
          .append(String.join(", ", sides))
          .append(" | ")
          .append(!kind.blocks() ? "a warning" : kind.code().isEmpty() ? "any" : kind.code())
          .append(" | ")
          .append(kind.sentence().replaceAll("\\{([0-9])}", "*parameter $1*"))
          .append(" | ")
          .append(kind.remedy())
          .append(" |\n");
    }
    return table.toString();
  }

  @Test
  void theDocumentHasTheTable() throws IOException {
    Path root = Path.of("").toAbsolutePath();
    while (!Files.exists(root.resolve("xenferry")) || !Files.exists(root.resolve("LICENSE"))) {
      root = root.resolve("..").normalize();
    }
    Path file = root.resolve("docs/preflight.md");
    String text = Files.readString(file);
    assertThat(text).contains(HEAD);
    String told = text.substring(text.indexOf(HEAD));
    if (Boolean.getBoolean("xenferry.write-preflight")) {
      Files.writeString(file, text.substring(0, text.length() - told.length()) + table());
      told = table();
    }
    assertThat(told)
        .as("docs/preflight.md; -Dxenferry.write-preflight=true writes it")
        .isEqualTo(table());
  }

  @Test
  void theFirstThatBlocksRefusesAndWarningsDoNot() {
    Survey survey = new Survey(Role.SOURCE);
    survey.warn(ObstacleKind.CLOCKS_DIFFER, "60");
    Survey.refuse(survey.found());
    survey.look(
        () -> {
          throw new XenApiException("SR_FULL", "2", "1");
        },
        ObstacleKind.TARGET_SR_UNKNOWN,
        ObstacleKind.TARGET_SR_FULL);
    assertThat(
            survey.<String, RuntimeException>ask(
                () -> {
                  throw new XenApiException("SR_BACKEND_FAILURE_44", "", "why", "");
                },
                ObstacleKind.TARGET_SR_FULL))
        .isEmpty();
    survey.passes(
        () -> {
          throw new MigrationException("VM_MIGRATE_FAILED", List.of("vm", "w"), "because");
        },
        ObstacleKind.VERSION);
    assertThat(survey.found())
        .extracting(Obstacle::kind)
        .containsExactly(
            ObstacleKind.CLOCKS_DIFFER,
            ObstacleKind.TARGET_SR_FULL,
            ObstacleKind.OTHER,
            ObstacleKind.VERSION);
    assertThat(survey.found()).extracting(Obstacle::sentence).contains("because");
    assertThat(Survey.first(survey.found()).orElseThrow().sentence())
        .isEqualTo("2 bytes would come to an SR that has 1 bytes free.");
    for (int i = 0; i < 2 * Survey.MOST; i++) {
      survey.raise(new XenApiException("VDI_NOT_IN_MAP", "vdi" + i), ObstacleKind.DISK_WITHOUT_SR);
      survey.raise(new XenApiException("VDI_NOT_IN_MAP", "vdi" + i), ObstacleKind.DISK_WITHOUT_SR);
    }
    assertThat(survey.found()).hasSize(Survey.MOST).doesNotHaveDuplicates();
  }
}
