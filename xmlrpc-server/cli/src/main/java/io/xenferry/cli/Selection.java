package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;

/** Objects that a command is about, chosen by what their fields show. */
final class Selection {
  /** What every command takes; a client may have some of them from several places. */
  static final Set<String> STANDARD =
      Set.of(
          "server",
          "password",
          "port",
          "username",
          "minimal",
          "force",
          "multiple",
          "all",
          "message-priority",
          "trace");

  private final Calls calls;
  private final Display display;

  Selection(Calls calls, Display display) {
    this.calls = calls;
    this.display = display;
  }

  /** An object that was chosen. */
  record Chosen(String ref, Map<String, Value> record) {
    String uuid() {
      return Calls.field(record, "uuid");
    }
  }

  /** Parameters that are filters: neither standard ones nor the command's own. */
  static List<Map.Entry<String, String>> filters(Arguments arguments, Set<String> own) {
    return arguments.all().stream()
        .filter(e -> {
          int colon = e.getKey().indexOf(':');
          String name = colon < 0 ? e.getKey() : e.getKey().substring(0, colon);
          return !STANDARD.contains(name) && !own.contains(name);
        })
        .toList();
  }

  /** VMs; control domains and templates only where a command says so. */
  List<Chosen> vms(
      List<Map.Entry<String, String>> filters, boolean controlDomains, boolean templates)
      throws XenApiException, CliException {
    List<Map.Entry<String, String>> all = new ArrayList<>();
    if (!controlDomains) {
      all.add(Map.entry("is-control-domain", "false"));
    }
    if (!templates) {
      all.add(Map.entry("is-a-template", "false"));
    }
    all.addAll(filters);
    return select(RecordClass.of("vm"), all, "vm", "uuid", "name__label");
  }

  List<Chosen> hosts(List<Map.Entry<String, String>> filters) throws XenApiException, CliException {
    return select(RecordClass.of("host"), filters, "host", "uuid", "hostname", "name__label");
  }

  List<Chosen> srs(List<Map.Entry<String, String>> filters) throws XenApiException, CliException {
    return select(RecordClass.of("sr"), filters, "sr", "uuid", "name__label");
  }

  private List<Chosen> select(
      RecordClass type,
      List<Map.Entry<String, String>> filters,
      String pseudo,
      String... pseudoFields)
      throws XenApiException, CliException {
    Optional<Map.Entry<String, String>> named =
        filters.stream().filter(e -> e.getKey().equals(pseudo)).findFirst();
    String query = named.isEmpty() ? "true" : Calls.anyEquals(named.get().getValue(), pseudoFields);
    List<Map.Entry<String, String>> rest =
        filters.stream().filter(e -> !e.getKey().equals(pseudo)).toList();
    return filter(type, calls.records(type.apiClass(), query), rest);
  }

  /** Those of the records that satisfy all filters. */
  List<Chosen> filter(
      RecordClass type,
      SequencedMap<String, Map<String, Value>> records,
      List<Map.Entry<String, String>> filters)
      throws CliException {
    SequencedMap<String, Map<String, Value>> left = new LinkedHashMap<>(records);
    for (Map.Entry<String, String> filter : filters) {
      if (left.isEmpty()) {
        break;
      }
      Condition condition = condition(type, filter.getKey());
      left.entrySet().removeIf(e -> !condition.holds(e.getKey(), e.getValue(), filter.getValue()));
    }
    return left.entrySet().stream().map(e -> new Chosen(e.getKey(), e.getValue())).toList();
  }

  /** Whether a record satisfies one filter. */
  interface Condition {
    boolean holds(String ref, Map<String, Value> record, String expected);
  }

  /** The condition of this name: a field, a key of a map, or a member of a set. */
  Condition condition(RecordClass type, String name) throws CliException {
    Optional<RecordField> field = type.field(name);
    if (field.isPresent()) {
      return (ref, record, expected) -> {
        String shown = display.show(ref, record, field.get());
        return field.get().caseInsensitive()
            ? shown.equalsIgnoreCase(expected)
            : shown.equals(expected);
      };
    }
    Optional<Map.Entry<RecordField, String>> part = part(type, name);
    if (part.isEmpty()) {
      throw CliException.failed("Unknown field '%s'".formatted(name));
    }
    RecordField container = part.get().getKey();
    String key = part.get().getValue();
    return (ref, record, expected) ->
        container.isMap()
            ? pairs(ref, record, container).contains(key + ": " + expected)
            : key.equals("contains") && pairs(ref, record, container).contains(expected);
  }

  private List<String> pairs(String ref, Map<String, Value> record, RecordField field) {
    Value value = record.get(field.path());
    return switch (value) {
      case Value.Struct s ->
          s.members().entrySet().stream()
              .map(e -> e.getKey() + ": " + Display.plain(e.getValue()))
              .toList();
      case Value.Array a when field.show().isEmpty() || field.show().equals("comma") ->
          a.items().stream().map(Display::plain).toList();
      case null, default -> List.of(display.show(ref, record, field).split("; "));
    };
  }

  /**
   * A map or set and the part behind it, after a colon or, as of old, a dash; the longest map wins.
   */
  static Optional<Map.Entry<RecordField, String>> part(RecordClass type, String name) {
    int colon = name.indexOf(':');
    if (colon > 0) {
      return type.field(name.substring(0, colon))
          .map(field -> Map.entry(field, name.substring(colon + 1)));
    }
    Optional<RecordField> best = Optional.empty();
    for (RecordField field : type.fields().values()) {
      boolean longer =
          best.isEmpty()
              || (field.isMap() && !best.get().isMap())
              || (field.isMap() == best.get().isMap()
                  && field.name().length() > best.get().name().length());
      if ((field.isMap() || field.isSet()) && name.startsWith(field.name() + "-") && longer) {
        best = Optional.of(field);
      }
    }
    return best.map(field -> Map.entry(field, name.substring(field.name().length() + 1)));
  }
}
