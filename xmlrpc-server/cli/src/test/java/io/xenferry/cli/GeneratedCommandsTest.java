package io.xenferry.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The commands that every class of records has, against those of published servers. */
class GeneratedCommandsTest {
  /** Ours alone: what they are about is no class of the XenAPI. */
  private static final Set<String> OURS = Set.of("migration-list");

  /** The parameters of each command, {@code required|optional}. */
  private static Map<String, String> published() throws Exception {
    Map<String, String> table = new TreeMap<>();
    try (InputStream in =
        Objects.requireNonNull(
            GeneratedCommandsTest.class.getResourceAsStream("generated-commands.txt"))) {
      for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList()) {
        if (!line.startsWith("#")) {
          table.put(line.substring(0, line.indexOf('|')), line.substring(line.indexOf('|') + 1));
        }
      }
    }
    assertThat(table).hasSize(288);
    return table;
  }

  private static Set<String> offered() {
    Set<String> listed =
        RecordClass.Resources.lines("commands.txt").stream()
            .map(l -> l.split(" ")[0])
            .collect(Collectors.toSet());
    return Commands.all().stream()
        .map(Command::name)
        .filter(n -> !listed.contains(n))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  @Test
  void everyOneIsThereAndNoOther() throws Exception {
    Set<String> offered = offered();
    assertThat(offered).containsAll(OURS);
    offered.removeAll(OURS);
    assertThat(offered).containsExactlyElementsOf(published().keySet());
  }

  @Test
  void theyTakeWhatTheyTakeThere() throws Exception {
    List<String> wrong = new ArrayList<>();
    published()
        .forEach((name, parameters) -> {
          String ours =
              Commands.named(name)
                  .map(c -> String.join(",", c.needs()) + "|" + String.join(",", c.takes()))
                  .orElse("missing");
          if (!ours.equals(parameters)) {
            wrong.add(name + "\n  has  " + ours + "\n  not  " + parameters);
          }
        });
    assertThat(wrong).isEmpty();
  }
}
