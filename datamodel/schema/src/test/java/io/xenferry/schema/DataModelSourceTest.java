package io.xenferry.schema;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Loading checks every file against the XML schema; these are the rules that it cannot say. */
class DataModelSourceTest {
  private final DataModelSource source = load();

  private static DataModelSource load() {
    try {
      return DataModelSource.load();
    } catch (java.io.IOException e) {
      throw new AssertionError(e.getMessage(), e);
    }
  }

  @Test
  void everyFileIsValidAndThere() {
    assertThat(source.classes()).hasSize(73);
    assertThat(source.enums().enums).hasSize(75);
  }

  @Test
  void bothEndsOfEveryRelationExist() {
    Set<String> fields = new HashSet<>();
    source.classes().forEach(c -> c.fields.forEach(f -> fields.add(c.name + "." + f.name)));
    assertThat(fields).containsAll(source.views().keySet()).containsAll(source.views().values());
  }

  @Test
  void typesNameClassesAndEnumerationsThatExist() {
    Set<String> classes = new HashSet<>();
    source.classes().forEach(c -> classes.add(c.name));
    Set<String> enums = new HashSet<>();
    source.enums().enums.forEach(e -> enums.add(e.name));
    source
        .classes()
        .forEach(c -> {
          c.fields.forEach(f -> named(f.type, classes, enums));
          c.messages.forEach(m -> {
            named(m.result, classes, enums);
            m.params.forEach(p -> named(p.type, classes, enums));
          });
        });
  }

  private static void named(String type, Set<String> classes, Set<String> enums) {
    List<String> words = List.of(type.replaceAll("[()]", "").replace(" -> ", " ").split(" "));
    for (int i = 0; i < words.size(); i++) {
      if (words.get(i).equals("ref") || words.get(i).equals("record")) {
        assertThat(classes).as(type).contains(words.get(i - 1));
      } else if (words.get(i).equals("enum")) {
        assertThat(enums).as(type).contains(words.get(i + 1));
      }
    }
  }

  @Test
  void errorsOfMessagesAreCodes() {
    Set<String> codes = new HashSet<>();
    source.errors().errors.forEach(e -> codes.add(e.code));
    source
        .classes()
        .forEach(c ->
            c.messages.forEach(
                m -> assertThat(codes).as(c.name + "." + m.name).containsAll(m.errors)));
  }

  @Test
  void extensionsHaveJoinedTheirClass() {
    var vm = source.classes().stream().filter(c -> c.name.equals("VM")).findFirst().orElseThrow();
    assertThat(vm.messages).extracting(m -> m.name).contains("migrate_send", "receive", "migrate");
  }
}
