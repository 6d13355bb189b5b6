package io.xenferry.server.schema;

import io.xenferry.model.ClassDef;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.wire.Dates;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * The language of get_all_where and get_all_records_where:
 *
 * <pre>
 * expr  := true | false | value = value | not expr | expr and expr | expr or expr | ( expr )
 * value := field "name" | "literal"
 * </pre>
 *
 * {@code and} and {@code or} have equal precedence and group to the left, {@code not} binds tighter.
 * A literal holds no quote. Values compare as text: booleans {@code true}, integers decimal, dates
 * compact, sets {@code ('a' 'b')}, maps {@code (('k' 'v'))}. Fields go by their wire name or their
 * database name, and {@code _ref} is the reference.
 */
public final class Query {
  // Each level of parentheses or "not" costs one frame or three; clients nest two or three.
  private static final int MAX_DEPTH = 100;

  private final String text;
  private final ClassDef type;
  private int at;
  private int depth;

  private Query(String text, ClassDef type) {
    this.text = text;
    this.type = type;
  }

  /** INVALID_VALUE [expression, reason] when it is none. */
  public static Predicate<Row> parse(String expression, ClassDef type) throws XenApiException {
    Query q = new Query(expression, type);
    Predicate<Row> p = q.expression();
    q.space();
    if (q.at != expression.length()) {
      throw q.wrong("text after the end");
    }
    return p;
  }

  private Predicate<Row> expression() throws XenApiException {
    Predicate<Row> left = term();
    while (true) {
      if (word("and")) {
        left = left.and(term());
      } else if (word("or")) {
        left = left.or(term());
      } else {
        return left;
      }
    }
  }

  private Predicate<Row> term() throws XenApiException {
    if (++depth > MAX_DEPTH) {
      throw wrong("nested too deep");
    }
    try {
      if (symbol('(')) {
        Predicate<Row> inner = expression();
        if (!symbol(')')) {
          throw wrong("missing )");
        }
        return inner;
      }
      if (word("not")) {
        return term().negate();
      }
      if (word("true")) {
        return row -> true;
      }
      if (word("false")) {
        return row -> false;
      }
      Function<Row, String> a = value();
      if (!symbol('=')) {
        throw wrong("missing =");
      }
      Function<Row, String> b = value();
      return row -> a.apply(row).equals(b.apply(row));
    } finally {
      depth--;
    }
  }

  private Function<Row, String> value() throws XenApiException {
    if (word("field")) {
      String name = literal();
      if (name.equals("_ref")) {
        return Row::ref;
      }
      Optional<FieldDef> field =
          type.fields().stream()
              .filter(f -> f.name().equals(name) || f.column().equals(name))
              .findFirst();
      if (field.isEmpty()) {
        throw wrong("no field " + name);
      }
      FieldDef f = field.get();
      return row -> databaseText(row.get(f));
    }
    String literal = literal();
    return row -> literal;
  }

  private String literal() throws XenApiException {
    if (!symbol('"')) {
      throw wrong("missing \"");
    }
    int end = text.indexOf('"', at);
    if (end < 0) {
      throw wrong("unfinished literal");
    }
    String s = text.substring(at, end);
    at = end + 1;
    return s;
  }

  private void space() {
    while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
      at++;
    }
  }

  private boolean symbol(char c) {
    space();
    if (at < text.length() && text.charAt(at) == c) {
      at++;
      return true;
    }
    return false;
  }

  private boolean word(String word) {
    space();
    int end = at + word.length();
    if (text.startsWith(word, at)
        && (end == text.length() || !Character.isLetterOrDigit(text.charAt(end)))) {
      at = end;
      return true;
    }
    return false;
  }

  private XenApiException wrong(String reason) {
    return new XenApiException("INVALID_VALUE", text, reason + " at " + at);
  }

  /** As the published server's database stores it. */
  static String databaseText(Value value) {
    return switch (value) {
      case Value.Text t -> t.text();
      case Value.Int i -> Long.toString(i.value());
      case Value.Real r -> Double.toString(r.value());
      case Value.Bool b -> Boolean.toString(b.value());
      case Value.Time t -> Dates.format(t.instant());
      case Value.Array a ->
          a.items().stream()
              .map(v -> "'" + databaseText(v) + "'")
              .collect(Collectors.joining(" ", "(", ")"));
      case Value.Struct(SequencedMap<String, Value> members) ->
          members.entrySet().stream()
              .map(Query::entryText)
              .collect(Collectors.joining(" ", "(", ")"));
    };
  }

  private static String entryText(Map.Entry<String, Value> e) {
    return "('" + e.getKey() + "' '" + databaseText(e.getValue()) + "')";
  }
}
