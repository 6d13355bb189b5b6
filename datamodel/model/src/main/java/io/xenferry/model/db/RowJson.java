package io.xenferry.model.db;

import io.xenferry.model.Value;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * A row's values as JSON text, which SQLite's own functions can look into. Ints are numbers without
 * point or exponent, floats always have one. What JSON lacks is an object with one member that
 * names the type: {@code {"$time":"…"}}, {@code {"$float":"NaN"}}, {@code {"$map":{…}}}.
 */
final class RowJson {
  private static final int MAX_DEPTH = 16;

  private final String text;
  private int at;

  private RowJson(String text) {
    this.text = text;
  }

  static String write(Map<String, Value> fields) {
    StringBuilder out = new StringBuilder();
    object(fields, out);
    return out.toString();
  }

  private static void object(Map<String, Value> fields, StringBuilder out) {
    out.append('{');
    String comma = "";
    for (Map.Entry<String, Value> e : fields.entrySet()) {
      out.append(comma);
      string(e.getKey(), out);
      out.append(':');
      value(e.getValue(), out);
      comma = ",";
    }
    out.append('}');
  }

  private static void value(Value v, StringBuilder out) {
    switch (v) {
      case Value.Text t -> string(t.text(), out);
      case Value.Int i -> out.append(i.value());
      case Value.Bool b -> out.append(b.value());
      case Value.Real r -> {
        if (Double.isFinite(r.value())) {
          // Always with a point or an exponent, which tells it from an int.
          out.append(r.value());
        } else {
          out.append("{\"$float\":\"").append(r.value()).append("\"}");
        }
      }
      case Value.Time t -> out.append("{\"$time\":\"").append(t.instant()).append("\"}");
      case Value.Array a -> {
        out.append('[');
        String comma = "";
        for (Value i : a.items()) {
          out.append(comma);
          value(i, out);
          comma = ",";
        }
        out.append(']');
      }
      case Value.Struct s -> {
        out.append("{\"$map\":");
        object(s.members(), out);
        out.append('}');
      }
    }
  }

  private static void string(String s, StringBuilder out) {
    out.append('"');
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < 0x20 || Character.isSurrogate(c)) {
        // Lone surrogates would not survive UTF-8.
        out.append("\\u").append(String.format("%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    out.append('"');
  }

  /**
   * Reads what {@link #write} wrote.
   *
   * @throws IllegalArgumentException when it is something else
   */
  static Map<String, Value> read(String text) {
    RowJson in = new RowJson(text);
    Map<String, Value> fields = in.members(0);
    if (in.at != text.length()) {
      throw in.wrong();
    }
    return fields;
  }

  private SequencedMap<String, Value> members(int depth) {
    SequencedMap<String, Value> out = new LinkedHashMap<>();
    expect('{');
    if (peek() == '}') {
      at++;
      return out;
    }
    while (true) {
      String key = string();
      expect(':');
      out.put(key, value(depth + 1));
      if (peek() != ',') {
        break;
      }
      at++;
    }
    expect('}');
    return out;
  }

  private Value value(int depth) {
    if (depth > MAX_DEPTH) {
      throw wrong();
    }
    return switch (peek()) {
      case '"' -> Value.of(string());
      case 't' -> word("true", Value.of(true));
      case 'f' -> word("false", Value.of(false));
      case '[' -> array(depth);
      case '{' -> tagged(depth);
      default -> number();
    };
  }

  private Value array(int depth) {
    expect('[');
    List<Value> items = new ArrayList<>();
    if (peek() != ']') {
      items.add(value(depth + 1));
      while (peek() == ',') {
        at++;
        items.add(value(depth + 1));
      }
    }
    expect(']');
    return items.isEmpty() ? Value.EMPTY_ARRAY : new Value.Array(items);
  }

  private Value tagged(int depth) {
    expect('{');
    String tag = string();
    expect(':');
    Value v =
        switch (tag) {
          case "$map" -> {
            SequencedMap<String, Value> members = members(depth + 1);
            yield members.isEmpty() ? Value.EMPTY_STRUCT : new Value.Struct(members);
          }
          case "$time" -> Value.of(Instant.parse(string()));
          case "$float" -> Value.of(Double.parseDouble(string()));
          default -> throw wrong();
        };
    expect('}');
    return v;
  }

  private Value number() {
    int start = at;
    boolean real = false;
    while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
      real |= ".eE".indexOf(text.charAt(at)) >= 0;
      at++;
    }
    String n = text.substring(start, at);
    return real ? Value.of(Double.parseDouble(n)) : Value.of(Long.parseLong(n));
  }

  private Value word(String word, Value v) {
    if (!text.startsWith(word, at)) {
      throw wrong();
    }
    at += word.length();
    return v;
  }

  private String string() {
    expect('"');
    int start = at;
    while (peek() != '"' && peek() != '\\') {
      at++;
    }
    if (peek() == '"') {
      return text.substring(start, at++);
    }
    StringBuilder out = new StringBuilder(text.substring(start, at));
    while (peek() != '"') {
      char c = text.charAt(at++);
      if (c == '\\') {
        char escaped = peek();
        at++;
        if (escaped == 'u') {
          if (at + 4 > text.length()) {
            throw wrong();
          }
          c = (char) Integer.parseInt(text.substring(at, at + 4), 16);
          at += 4;
        } else {
          c = escaped;
        }
      }
      out.append(c);
    }
    at++;
    return out.toString();
  }

  private char peek() {
    if (at >= text.length()) {
      throw wrong();
    }
    return text.charAt(at);
  }

  private void expect(char c) {
    if (peek() != c) {
      throw wrong();
    }
    at++;
  }

  private IllegalArgumentException wrong() {
    return new IllegalArgumentException("Not a row's values, at character " + at);
  }
}
