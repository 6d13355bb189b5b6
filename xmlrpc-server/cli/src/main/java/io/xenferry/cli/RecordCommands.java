package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/**
 * The commands that every class of records has: list, and param- list, get, set, add, remove,
 * clear.
 */
final class RecordCommands {
  /** A saved database to read from, which is refused in words. */
  private static final String DATABASE = "database:";

  private RecordCommands() {}

  /** Adds the commands of all classes. */
  static void register(Map<String, Command> commands) {
    for (RecordClass type : RecordClass.all()) {
      String name = type.name();
      add(commands, name + "-list", List.of(), filters(type), run -> list(run, type));
      if (type.listedOnly()) {
        continue;
      }
      add(
          commands,
          name + "-param-list",
          List.of("uuid"),
          List.of(DATABASE),
          run -> paramList(run, type));
      add(
          commands,
          name + "-param-get",
          List.of("uuid", "param-name"),
          List.of("param-key", DATABASE),
          run -> get(run, type));
      if (type.can('s') || type.can('k')) {
        add(commands, name + "-param-set", List.of("uuid"), settable(type), run -> set(run, type));
      }
      if (type.can('a')) {
        List<String> needs = List.of("uuid", "param-name");
        add(commands, name + "-param-add", needs, List.of("param-key"), run -> add(run, type));
        add(
            commands,
            name + "-param-remove",
            List.of("uuid", "param-name", "param-key"),
            List.of(),
            run -> remove(run, type));
      }
      if (type.hasClear()) {
        List<String> needs = List.of("uuid", "param-name");
        add(commands, name + "-param-clear", needs, List.of(), run -> clear(run, type));
      }
    }
  }

  /** What a list takes: the fields, the sets once more by a member. */
  private static List<String> filters(RecordClass type) {
    List<String> filters = new ArrayList<>(List.of("params"));
    if (!type.listedOnly()) {
      filters.add(DATABASE);
    }
    type.told().map(RecordField::name).forEach(filters::add);
    type.told().filter(RecordField::isSet).map(f -> f.name() + ":contains").forEach(filters::add);
    return filters;
  }

  private static List<String> settable(RecordClass type) {
    List<String> settable = new ArrayList<>();
    type.told().filter(f -> f.can('s')).map(RecordField::name).forEach(settable::add);
    type.told().filter(f -> f.can('k')).map(f -> f.name() + ":").forEach(settable::add);
    return settable;
  }

  private static void add(
      Map<String, Command> commands,
      String name,
      List<String> needs,
      List<String> takes,
      Command.Handler handler) {
    commands.put(name, Command.generated(name, needs, takes, handler));
  }

  private static void list(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    Arguments arguments = run.arguments();
    refuseDatabase(arguments);
    SequencedMap<String, Map<String, Value>> records = records(run, type);
    List<Map.Entry<String, String>> filters = new ArrayList<>(type.filters());
    filters.addAll(Selection.filters(arguments, Set.of("params", "database")));
    if (arguments.flag("all")) {
      filters = List.of();
    }
    List<Selection.Chosen> chosen = run.selection().filter(type, records, filters);
    String asked = arguments.get("params", "");
    Optional<Set<String>> fields =
        asked.equals("all") || (asked.isEmpty() && type.shown().isEmpty())
            ? Optional.empty()
            : Optional.of(
                Set.copyOf(
                    asked.isEmpty()
                        ? type.shown()
                        : List.of(asked.split(",")).stream().distinct().toList()));
    List<List<Map.Entry<String, String>>> tables = new ArrayList<>();
    for (Selection.Chosen one : chosen) {
      tables.add(run.display().table(one.ref(), one.record(), type, fields, false));
    }
    run.printer().tables(tables);
  }

  private static SequencedMap<String, Map<String, Value>> records(Run run, RecordClass type)
      throws XenApiException {
    if (type.listedOnly()) {
      return MigrationCommands.records(run);
    }
    return run.calls()
        .records(type.apiClass(), type.apiClass().equals("role") ? "subroles<>[]" : "true");
  }

  private static void refuseDatabase(Arguments arguments) throws CliException {
    if (!arguments.map("database").isEmpty()) {
      throw CliException.failed("Reading a saved database is not supported here");
    }
  }

  private static Selection.Chosen byUuid(Run run, RecordClass type)
      throws XenApiException, CliException {
    refuseDatabase(run.arguments());
    String ref = run.calls().byUuid(type.apiClass(), run.arguments().need("uuid"));
    return new Selection.Chosen(ref, run.calls().record(type.apiClass(), ref));
  }

  private static RecordField field(Run run, RecordClass type) throws CliException {
    String name = run.arguments().need("param-name");
    return type.field(name).orElseThrow(() -> CliException.field(name));
  }

  private static void paramList(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    Selection.Chosen one = byUuid(run, type);
    run.printer()
        .tables(
            List.of(run.display().table(one.ref(), one.record(), type, Optional.empty(), true)));
  }

  private static void get(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    Selection.Chosen one = byUuid(run, type);
    RecordField field = field(run, type);
    Optional<String> key = run.arguments().get("param-key");
    if (key.isEmpty()) {
      run.printer().line(run.display().show(one.ref(), one.record(), field));
      return;
    }
    Value entry = Calls.members(one.record().getOrDefault(field.path(), Value.VOID)).get(key.get());
    if (!field.isMap() || entry == null) {
      throw CliException.failed("Key '%s' is not in '%s'".formatted(key.get(), field.name()));
    }
    run.printer().line(Display.plain(entry));
  }

  private static void set(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    Selection.Chosen one = byUuid(run, type);
    SequencedMap<RecordField, SequencedMap<String, String>> maps = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : Selection.filters(run.arguments(), Set.of("uuid"))) {
      Optional<RecordField> field = type.field(e.getKey());
      if (field.isPresent()) {
        if (!field.get().can('s')) {
          throw CliException.failed("Field '%s' cannot be set".formatted(e.getKey()));
        }
        run.calls()
            .call(
                field.get().setCall(),
                Value.of(one.ref()),
                Parameter.read(run.calls(), field.get(), e.getValue()));
        continue;
      }
      Map.Entry<RecordField, String> part =
          Selection.part(type, e.getKey())
              .orElseThrow(() -> CliException.failed("Unknown field '%s'".formatted(e.getKey())));
      if (!part.getKey().can('k')) {
        throw CliException.failed("Field '%s' cannot be set".formatted(part.getKey().name()));
      }
      maps.computeIfAbsent(part.getKey(), f -> new LinkedHashMap<>())
          .putIfAbsent(part.getValue(), e.getValue());
    }
    for (Map.Entry<RecordField, SequencedMap<String, String>> e : maps.entrySet()) {
      setKeys(run, one, e.getKey(), e.getValue());
    }
  }

  private static void setKeys(
      Run run, Selection.Chosen one, RecordField field, SequencedMap<String, String> pairs)
      throws XenApiException {
    Value self = Value.of(one.ref());
    if (!field.setMapCall().isEmpty()) {
      run.calls().call(field.setMapCall(), self, Value.ofTexts(pairs));
      return;
    }
    for (Map.Entry<String, String> pair : pairs.entrySet()) {
      Value key = Value.of(pair.getKey());
      Value value = Value.of(pair.getValue());
      if (!field.putCall().isEmpty()) {
        run.calls().call(field.putCall(), self, key, value);
      } else {
        Value old =
            Calls.members(one.record().getOrDefault(field.path(), Value.VOID)).get(pair.getKey());
        if (old == null) {
          run.calls().call(field.addCall(), self, key, value);
        } else {
          replace(run, field, self, key, old, value);
        }
      }
    }
  }

  /** There is no call for it. What is refused leaves the old value. */
  private static void replace(
      Run run, RecordField field, Value self, Value key, Value old, Value value)
      throws XenApiException {
    run.calls().call(field.removeCall(), self, key);
    try {
      run.calls().call(field.addCall(), self, key, value);
    } catch (XenApiException e) {
      try {
        run.calls().call(field.addCall(), self, key, old);
      } catch (XenApiException lost) {
        e.addSuppressed(lost);
      }
      throw e;
    }
  }

  private static void add(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    RecordField field = field(run, type);
    String ref = run.calls().byUuid(type.apiClass(), run.arguments().need("uuid"));
    if (!field.can('a')) {
      throw CliException.failed("Nothing can be added to '%s'".formatted(field.name()));
    }
    if (field.isSet()) {
      String key = run.arguments().need("param-key");
      run.calls().call(field.addCall(), Value.of(ref), Parameter.member(run.calls(), field, key));
      return;
    }
    for (Map.Entry<String, String> e :
        Selection.filters(run.arguments(), Set.of("uuid", "param-name", "param-key"))) {
      run.calls()
          .call(field.addCall(), Value.of(ref), Value.of(e.getKey()), Value.of(e.getValue()));
    }
  }

  private static void remove(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    RecordField field = field(run, type);
    Selection.Chosen one = byUuid(run, type);
    String key = run.arguments().need("param-key");
    if (!field.can('r')) {
      throw CliException.failed("Nothing can be removed from '%s'".formatted(field.name()));
    }
    Value now = one.record().getOrDefault(field.path(), Value.VOID);
    Value member = field.isSet() ? Parameter.member(run.calls(), field, key) : Value.of(key);
    boolean there =
        field.isMap()
            ? Calls.members(now).containsKey(key)
            : Calls.texts(now).contains(Display.plain(member));
    if (!there) {
      throw CliException.failed("Key '%s' is not in '%s'".formatted(key, field.name()));
    }
    run.calls().call(field.removeCall(), Value.of(one.ref()), member);
  }

  private static void clear(Run run, RecordClass type)
      throws XenApiException, CliException, IOException {
    RecordField field = field(run, type);
    Selection.Chosen one = byUuid(run, type);
    if (!field.can('c')) {
      throw CliException.failed("Field '%s' cannot be cleared".formatted(field.name()));
    }
    Value self = Value.of(one.ref());
    Value now = one.record().getOrDefault(field.path(), Value.VOID);
    if (field.isMap()) {
      if (field.clearMapCall().isEmpty()) {
        for (String key : Calls.members(now).keySet()) {
          run.calls().call(field.removeCall(), self, Value.of(key));
        }
      } else {
        run.calls().call(field.clearMapCall(), self, Value.Struct.of(Map.of()));
      }
    } else if (field.isSet()) {
      for (Value member : now instanceof Value.Array a ? a.items() : List.<Value>of()) {
        run.calls().call(field.removeCall(), self, member);
      }
    } else {
      run.calls().call(field.setCall(), self, Parameter.read(run.calls(), field, ""));
    }
  }
}
