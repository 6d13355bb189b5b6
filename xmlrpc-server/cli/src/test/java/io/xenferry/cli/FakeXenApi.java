package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;

/**
 * Objects in maps, generic accessors over them, answers as told for everything else; records the
 * calls.
 */
final class FakeXenApi implements RemoteServers.Remote {
  static final String SESSION = "OpaqueRef:session";

  final List<String> calls = new ArrayList<>();
  private final Map<String, SequencedMap<String, SequencedMap<String, Value>>> tables =
      new LinkedHashMap<>();
  private final Map<String, Function<List<Value>, Value>> answers = new LinkedHashMap<>();
  private final Map<String, XenApiException> failures = new LinkedHashMap<>();
  Optional<String> fingerprint = Optional.empty();
  boolean closed;

  /** Adds an object with a reference made of class and uuid. */
  String add(String className, String uuid, Object... fields) {
    String ref = "OpaqueRef:" + className + "-" + uuid;
    SequencedMap<String, Value> record = new LinkedHashMap<>();
    record.put("uuid", Value.of(uuid));
    for (int i = 0; i < fields.length; i += 2) {
      record.put((String) fields[i], value(fields[i + 1]));
    }
    tables.computeIfAbsent(className, c -> new LinkedHashMap<>()).put(ref, record);
    return ref;
  }

  private static Value value(Object o) {
    return switch (o) {
      case Value v -> v;
      case String s -> Value.of(s);
      case Integer i -> Value.of(i);
      case Long l -> Value.of(l);
      case Double d -> Value.of(d);
      case Boolean b -> Value.of(b);
      case List<?> l -> Value.ofTexts(l.stream().map(String.class::cast).toList());
      case Map<?, ?> m -> {
        SequencedMap<String, String> texts = new LinkedHashMap<>();
        m.forEach((k, v) -> texts.put((String) k, (String) v));
        yield Value.ofTexts(texts);
      }
      default -> throw new IllegalArgumentException(o.toString());
    };
  }

  void answer(String method, Function<List<Value>, Value> answer) {
    answers.put(method, answer);
  }

  void fail(String method, String code, String... params) {
    failures.put(method, new XenApiException(code, List.of(params)));
  }

  /** Calls that change something, as text. */
  List<String> changes() {
    return calls.stream()
        .filter(c -> {
          String message = c.substring(c.indexOf('.') + 1);
          return !message.startsWith("get") && !c.startsWith("session.") && !c.startsWith("event.");
        })
        .toList();
  }

  @Override
  public Value call(String method, List<Value> params) throws XenApiException {
    calls.add(
        method
            + "("
            + String.join(", ", params.stream().skip(1).map(Display::plain).toList())
            + ")");
    if (failures.containsKey(method)) {
      throw failures.get(method);
    }
    if (answers.containsKey(method)) {
      return answers.get(method).apply(params);
    }
    if (method.equals("session.login_with_password")) {
      if (!params.get(1).equals(Value.of("secret"))) {
        throw new XenApiException("SESSION_AUTHENTICATION_FAILED", List.of());
      }
      return Value.of(SESSION);
    }
    if (method.equals("session.logout")) {
      return Value.VOID;
    }
    if (!params.isEmpty() && !params.getFirst().equals(Value.of(SESSION))) {
      throw new XenApiException("SESSION_INVALID", List.of(Display.plain(params.getFirst())));
    }
    if (params.size() < 2) {
      return Value.VOID;
    }
    String className = method.substring(0, method.indexOf('.'));
    String message = method.substring(method.indexOf('.') + 1);
    var table = tables.getOrDefault(className, new LinkedHashMap<>());
    return switch (message) {
      case "get_all_records_where" -> where(table, Display.plain(params.get(1)));
      case "get_by_uuid" -> byUuid(className, table, Display.plain(params.get(1)));
      case "get_record" -> new Value.Struct(record(className, table, params.get(1)));
      case "get" -> Value.Struct.of(Map.of());
      default ->
          message.startsWith("get_")
              ? record(className, table, params.get(1))
                  .getOrDefault(message.substring(4), Value.VOID)
              : Value.VOID;
    };
  }

  private static SequencedMap<String, Value> record(
      String className, SequencedMap<String, SequencedMap<String, Value>> table, Value ref)
      throws XenApiException {
    SequencedMap<String, Value> record = table.get(Display.plain(ref));
    if (record == null) {
      throw new XenApiException("HANDLE_INVALID", List.of(className, Display.plain(ref)));
    }
    return record;
  }

  private static Value byUuid(
      String className, SequencedMap<String, SequencedMap<String, Value>> table, String uuid)
      throws XenApiException {
    for (var e : table.entrySet()) {
      if (e.getValue().get("uuid").equals(Value.of(uuid))) {
        return Value.of(e.getKey());
      }
    }
    throw new XenApiException("UUID_INVALID", List.of(className, uuid));
  }

  /** Understands comparisons joined by or, and those joined by and, as the commands make them. */
  private static Value where(
      SequencedMap<String, SequencedMap<String, Value>> table, String query) {
    SequencedMap<String, Value> found = new LinkedHashMap<>();
    table.forEach((ref, record) -> {
      if (query.equals("true") || matches(record, query)) {
        found.put(ref, new Value.Struct(record));
      }
    });
    return new Value.Struct(found);
  }

  private static boolean matches(Map<String, Value> record, String query) {
    boolean all = query.contains(") and (");
    boolean any = false;
    var matcher =
        java.util.regex.Pattern.compile("field \"(\\w+)\" = \"((?:[^\"\\\\]|\\\\.)*)\"")
            .matcher(query);
    while (matcher.find()) {
      Value value = record.get(matcher.group(1).replace("__", "_"));
      boolean equal = value != null && Display.plain(value).equals(matcher.group(2));
      if (all && !equal) {
        return false;
      }
      any |= equal;
    }
    return any;
  }

  @Override
  public Optional<String> acceptedAtFirstContact() {
    return fingerprint;
  }

  @Override
  public void close() {
    closed = true;
  }
}
