package io.xenferry.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Stream;

/**
 * A class of records: what its list shows and in which order, and which objects belong to it.
 *
 * @param name as in {@code NAME-list}
 * @param apiClass the XenAPI's class, or {@code -} for the migrations, which are not in the XenAPI
 * @param shown fields that a list shows unless told otherwise
 * @param filters what objects of the API class must satisfy to belong
 */
record RecordClass(
    String name,
    String apiClass,
    List<String> shown,
    List<Map.Entry<String, String>> filters,
    SequencedMap<String, RecordField> fields) {

  private static final Table TABLE = Table.load();

  /** All classes, enumerations too, as the resource has them. */
  private record Table(SequencedMap<String, RecordClass> classes, Map<String, EnumWords> enums) {

    static Table load() {
      SequencedMap<String, RecordClass> classes = new LinkedHashMap<>();
      Map<String, EnumWords> enums = new LinkedHashMap<>();
      RecordClass current = null;
      for (String line : Resources.lines("records.txt")) {
        String[] words = line.strip().split(" ");
        // A field is indented: there is one whose name is class.
        boolean head = !line.startsWith(" ");
        if (head && words[0].equals("enum")) {
          enums.put(words[1], EnumWords.of(words));
        } else if (head && words[0].equals("class")) {
          current = head(words, classes);
          classes.put(current.name(), current);
        } else {
          RecordField field =
              new RecordField(
                  Objects.requireNonNull(current).apiClass(),
                  words[0],
                  words[1],
                  options(words, 2));
          current.fields().put(field.name(), field);
        }
      }
      return new Table(classes, enums);
    }

    private static RecordClass head(String[] words, Map<String, RecordClass> before) {
      Map<String, String> options = options(words, 3);
      List<Map.Entry<String, String>> filters = new ArrayList<>();
      for (String filter : list(options.get("filter"))) {
        int eq = filter.indexOf('=');
        filters.add(Map.entry(filter.substring(0, eq), filter.substring(eq + 1)));
      }
      String like = options.get("like");
      SequencedMap<String, RecordField> fields =
          like == null ? new LinkedHashMap<>() : Objects.requireNonNull(before.get(like)).fields();
      return new RecordClass(words[1], words[2], list(options.get("default")), filters, fields);
    }

    private static List<String> list(@org.jspecify.annotations.Nullable String text) {
      return text == null ? List.of() : List.of(text.split(","));
    }

    private static Map<String, String> options(String[] words, int from) {
      Map<String, String> options = new LinkedHashMap<>();
      for (int i = from; i < words.length; i++) {
        int eq = words[i].indexOf('=');
        options.put(words[i].substring(0, eq), words[i].substring(eq + 1));
      }
      return options;
    }
  }

  static Collection<RecordClass> all() {
    return TABLE.classes().values();
  }

  static Optional<RecordClass> named(String name) {
    return Optional.ofNullable(TABLE.classes().get(name));
  }

  /** A class that the code itself names. */
  static RecordClass of(String name) {
    return Objects.requireNonNull(TABLE.classes().get(name), name);
  }

  static EnumWords words(String enumName) {
    return Objects.requireNonNull(TABLE.enums().get(enumName), enumName);
  }

  Optional<RecordField> field(String field) {
    return Optional.ofNullable(fields.get(field));
  }

  /** Whether there is a list and nothing else: of what is no class of the XenAPI. */
  boolean listedOnly() {
    return apiClass.equals("-");
  }

  /** The fields that help texts name. */
  Stream<RecordField> told() {
    return fields.values().stream().filter(f -> !f.hidden());
  }

  /** Whether there is a command to clear fields; it may refuse each of them. */
  boolean hasClear() {
    return fields.values().stream().anyMatch(f -> f.can('s') || f.isSet() || f.isMap());
  }

  /** Whether any field allows this kind of change. */
  boolean can(char what) {
    return fields.values().stream().anyMatch(f -> f.can(what));
  }

  /** Words of an enumeration, as the API and as people write them. */
  record EnumWords(SequencedMap<String, String> shown) {
    static EnumWords of(String[] words) {
      SequencedMap<String, String> shown = new LinkedHashMap<>();
      for (int i = 2; i < words.length; i++) {
        int eq = words[i].indexOf('=');
        if (eq < 0) {
          shown.put(words[i], words[i]);
        } else {
          shown.put(words[i].substring(0, eq), words[i].substring(eq + 1).replace('_', ' '));
        }
      }
      return new EnumWords(shown);
    }

    String show(String word) {
      return shown.getOrDefault(word, word);
    }

    /** The API's word for either spelling, in any case. */
    Optional<String> read(String text) {
      for (Map.Entry<String, String> e : shown.entrySet()) {
        if (e.getKey().equalsIgnoreCase(text) || e.getValue().equalsIgnoreCase(text)) {
          return Optional.of(e.getKey());
        }
      }
      return Optional.empty();
    }
  }

  /** Text resources of this package. */
  static final class Resources {
    private Resources() {}

    /** Lines that are neither empty nor comments. */
    static List<String> lines(String name) {
      try (InputStream in =
              Objects.requireNonNull(RecordClass.class.getResourceAsStream(name), name);
          BufferedReader reader =
              new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
        return reader.lines().filter(l -> !l.isBlank() && !l.startsWith("#")).toList();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
