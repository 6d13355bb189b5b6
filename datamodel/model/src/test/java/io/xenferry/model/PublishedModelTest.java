package io.xenferry.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/**
 * Holds the typed Java to a table of the published model that was made apart from the XML. Lists
 * every line that only one of the two has.
 */
class PublishedModelTest {
  /** Ours, beside the published model. */
  private static final Set<String> EXTENSIONS = Set.of("VM.receive", "VM.migrate");

  private static final Set<String> OWN_FIELDS = Set.of("task.server_notes");

  private static List<String> table(String... kinds) throws IOException {
    try (BufferedReader in =
        new BufferedReader(
            new InputStreamReader(
                PublishedModelTest.class.getResourceAsStream("published-model.tsv"),
                StandardCharsets.UTF_8))) {
      return in.lines()
          .filter(l -> Arrays.asList(kinds).contains(l.substring(0, l.indexOf('\t'))))
          .map(l -> l.replace("secretstring", "string"))
          // Published with the default of a set for one word; ours is that of the field.
          .map(l -> l.replace("updates_applied_state=[]", "updates_applied_state=\"unknown\""))
          .toList();
    }
  }

  private static void assertSame(List<String> published, List<String> ours) {
    Set<String> missing = new TreeSet<>(published);
    missing.removeAll(ours);
    Set<String> extra = new TreeSet<>(ours);
    extra.removeAll(published);
    assertThat(missing).as("published, but not ours").isEmpty();
    assertThat(extra).as("ours, but not published").isEmpty();
    assertThat(ours).hasSameSizeAs(published);
  }

  @Test
  void classes() throws IOException {
    assertSame(
        table("class"),
        DataModel.classes().stream()
            .map(c ->
                line(
                    "class",
                    c.name(),
                    flags(
                        "D",
                        c.inDatabase(),
                        "E",
                        c.events(),
                        "P",
                        c.persistent(),
                        "C",
                        c.constructible(),
                        "A",
                        c.getAll()),
                    history(c.lifecycle())))
            .toList());
  }

  @Test
  void fields() throws IOException {
    assertSame(
        table("field"),
        DataModel.classes().stream()
            .flatMap(c -> c.fields().stream())
            .filter(f -> !OWN_FIELDS.contains(f.wireName()))
            .map(this::field)
            .toList());
  }

  private String field(FieldDef f) {
    return line(
        "field",
        f.className(),
        f.name(),
        Types.text(f.type()),
        f.writable() ? "RW" : f.constructor() ? "RO-constructor" : "RO-dynamic",
        history(f.lifecycle()),
        flags("i", f.internal(), "t", !f.persistent()),
        f.defaultValue().map(PublishedModelTest::json).orElse("-"));
  }

  @Test
  void messages() throws IOException {
    assertSame(
        table("message"),
        DataModel.classes().stream()
            .flatMap(c -> c.messages().stream())
            .filter(m -> !EXTENSIONS.contains(m.wireName()))
            .map(this::message)
            .toList());
  }

  private String message(MessageDef m) {
    List<String> parts =
        new ArrayList<>(
            List.of(
                "message",
                m.className(),
                m.name(),
                kind(m.kind()),
                Types.text(m.result()),
                flags(
                    "a",
                    m.async(),
                    "s",
                    m.session(),
                    "h",
                    m.hidden(),
                    "i",
                    m.poolInternal(),
                    "e",
                    m.emergency(),
                    "x",
                    m.secret()),
                String.join(",", m.roles()),
                history(m.lifecycle()),
                m.errors().isEmpty() ? "-" : String.join(",", m.errors())));
    // The table has the published order of roles.
    parts.set(
        6,
        m.roles().equals(List.of(Roles.LOCAL_ROOT_ONLY))
            ? Roles.LOCAL_ROOT_ONLY
            : Roles.ALL.stream().filter(m.roles()::contains).collect(Collectors.joining(",")));
    m.params()
        .forEach(p ->
            parts.add(
                p.name()
                    + "="
                    + Types.text(p.type())
                    + "="
                    + p.defaultValue().map(PublishedModelTest::json).orElse("-")));
    return line(parts.toArray(String[]::new));
  }

  private static String kind(MessageDef.Kind kind) {
    return switch (kind) {
      case CUSTOM -> "custom";
      case GET -> "field-getter";
      case SET -> "field-setter";
      case ADD -> "field-add";
      case REMOVE -> "field-remove";
      case CREATE -> "ctor";
      case DESTROY -> "dtor";
      case GET_RECORD -> "get_record";
      case GET_BY_UUID -> "get_by_uuid";
      case GET_BY_NAME_LABEL -> "get_by_name_label";
      case GET_ALL -> "get_all";
      case GET_ALL_WHERE -> "get_all_where";
      case GET_ALL_RECORDS -> "get_all_records";
      case GET_ALL_RECORDS_WHERE -> "get_all_records_where";
    };
  }

  @Test
  void enumerations() throws IOException {
    List<String> published = table("enum");
    assertThat(published).hasSize(75);
    // An enumeration that only we had would show as the type of a field or a parameter that the
    // published tables lack.
    for (String l : published) {
      List<String> parts = List.of(l.split("\t"));
      assertThat(DataModel.words(parts.get(1)))
          .as(parts.get(1))
          .isEqualTo(parts.subList(2, parts.size()));
    }
  }

  @Test
  void errorCodes() throws IOException {
    assertSame(
        table("error"),
        Arrays.stream(ErrorCode.values())
            .map(e -> {
              List<String> parts = new ArrayList<>(List.of("error", e.name()));
              parts.addAll(e.params());
              return line(parts.toArray(String[]::new));
            })
            .toList());
  }

  @Test
  void relations() throws IOException {
    for (String l : table("relation")) {
      String[] p = l.split("\t");
      if (!p[1].equals(p[2])) {
        String[] many = p[2].split("\\.");
        FieldDef view = DataModel.field(many[0], many[1]).orElseThrow();
        assertThat(view.view().map(e -> e.className() + "." + e.fieldName())).hasValue(p[1]);
      }
    }
    assertThat(
            DataModel.classes().stream()
                .flatMap(c -> c.fields().stream())
                .filter(f -> f.view().isPresent()))
        .hasSize(62);
  }

  @Test
  void httpActionsAndAlerts() throws IOException {
    assertSame(
        table("http"),
        DataModel.httpActions().stream()
            .map(a ->
                line(
                    "http",
                    a.name(),
                    a.method(),
                    a.uri(),
                    a.roles().equals(List.of(Roles.LOCAL_ROOT_ONLY))
                        ? Roles.LOCAL_ROOT_ONLY
                        : Roles.ALL.stream()
                            .filter(a.roles()::contains)
                            .collect(Collectors.joining(","))))
            .toList());
    assertSame(
        table("alert"),
        Arrays.stream(AlertType.values())
            .map(a -> line("alert", a.name(), String.valueOf(a.priority())))
            .toList());
  }

  @Test
  void extensionsAreThere() {
    MessageDef receive = DataModel.message("VM.receive").orElseThrow();
    assertThat(receive.required()).isEqualTo(2);
    assertThat(receive.async()).isTrue();
    assertThat(receive.roles()).isEqualTo(Roles.atLeast(Roles.VM_POWER_ADMIN));
    assertThat(DataModel.message("VM_migrate")).contains(DataModel.message("VM.migrate").get());
  }

  private static String line(String... parts) {
    return String.join("\t", parts);
  }

  private static String flags(Object... lettersAndFacts) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < lettersAndFacts.length; i += 2) {
      out.append((boolean) lettersAndFacts[i + 1] ? lettersAndFacts[i] : "");
    }
    return out.isEmpty() ? "-" : out.toString();
  }

  private static String history(Lifecycle l) {
    return l.transitions().stream()
        .map(t -> t.to().name().toLowerCase(java.util.Locale.ROOT) + ":" + t.release())
        .collect(Collectors.joining(" "));
  }

  private static String json(Value v) {
    return switch (v) {
      case Value.Text t -> '"' + t.text().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
      case Value.Int i -> Long.toString(i.value());
      case Value.Bool b -> Boolean.toString(b.value());
      case Value.Real r -> Types.databaseText(r);
      case Value.Time t -> '"' + t.instant().toString() + '"';
      case Value.Array a ->
          a.items().stream()
              .map(PublishedModelTest::json)
              .collect(Collectors.joining(",", "[", "]"));
      case Value.Struct s ->
          s.members().entrySet().stream()
              .map(e -> json(Value.of(e.getKey())) + ":" + json(e.getValue()))
              .collect(Collectors.joining(",", "{", "}"));
    };
  }
}
