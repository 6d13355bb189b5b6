package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.spi.XenApi;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** XenAPI calls in one session. */
record Calls(XenApi api, String session) {
  static final String NULL = "OpaqueRef:NULL";

  /** Calls with the session in front. */
  Value call(String method, Value... params) throws XenApiException {
    List<Value> all = new ArrayList<>(params.length + 1);
    all.add(Value.of(session));
    all.addAll(List.of(params));
    return api.call(method, all);
  }

  String text(String method, Value... params) throws XenApiException {
    return text(call(method, params));
  }

  /** Calls a message of one object and reads a text. */
  String of(String ref, String method) throws XenApiException {
    return text(method, Value.of(ref));
  }

  String byUuid(String className, String uuid) throws XenApiException {
    return text(className + ".get_by_uuid", Value.of(uuid));
  }

  String uuid(String className, String ref) throws XenApiException {
    return of(ref, className + ".get_uuid");
  }

  /** Records by reference, in the server's order. */
  SequencedMap<String, Map<String, Value>> records(String className, String query)
      throws XenApiException {
    SequencedMap<String, Map<String, Value>> records = new LinkedHashMap<>();
    for (Map.Entry<String, Value> e :
        members(call(className + ".get_all_records_where", Value.of(query))).entrySet()) {
      records.put(e.getKey(), members(e.getValue()));
    }
    return records;
  }

  Map<String, Value> record(String className, String ref) throws XenApiException {
    return members(call(className + ".get_record", Value.of(ref)));
  }

  /** The first object for which one of the fields equals the text. */
  Optional<String> first(String className, String text, String... fields) throws XenApiException {
    SequencedMap<String, Map<String, Value>> found = records(className, anyEquals(text, fields));
    return found.isEmpty() ? Optional.empty() : Optional.of(found.firstEntry().getKey());
  }

  /** A query that holds for objects of which one of the fields equals the text. */
  static String anyEquals(String text, String... fields) {
    String quoted = '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    StringBuilder query = new StringBuilder();
    for (String field : fields) {
      String equal = "(field \"%s\" = %s)".formatted(field, quoted);
      query =
          query.isEmpty()
              ? query.append(equal)
              : query.insert(0, '(').append(" or ").append(equal).append(')');
    }
    return query.toString();
  }

  static String text(Value value) {
    return switch (value) {
      case Value.Text v -> v.text();
      case Value.Int v -> Long.toString(v.value());
      case Value.Bool v -> Boolean.toString(v.value());
      default -> throw new UnexpectedAnswerException("not a plain value: " + value);
    };
  }

  static long number(Value value) {
    return switch (value) {
      case Value.Int v -> v.value();
      case Value.Text v -> number(v.text());
      default -> throw new UnexpectedAnswerException("not a number: " + value);
    };
  }

  private static long number(String text) {
    try {
      return Long.parseLong(text);
    } catch (NumberFormatException e) {
      throw new UnexpectedAnswerException("not a number: " + text);
    }
  }

  static boolean truth(Value value) {
    return value instanceof Value.Bool v ? v.value() : text(value).equals("true");
  }

  static List<String> texts(Value value) {
    return value instanceof Value.Array a
        ? a.items().stream().map(Calls::text).toList()
        : List.of();
  }

  static SequencedMap<String, Value> members(Value value) {
    return value instanceof Value.Struct s ? s.members() : new LinkedHashMap<>();
  }

  /** A map of plain values. */
  static SequencedMap<String, String> textMap(Value value) {
    SequencedMap<String, String> map = new LinkedHashMap<>();
    members(value).forEach((key, member) -> map.put(key, text(member)));
    return map;
  }

  static String field(Map<String, Value> record, String name) {
    Value value = record.get(name);
    return value == null ? "" : text(value);
  }
}
