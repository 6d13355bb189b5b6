package io.xenferry.model;

import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;

/** Types and values: notation, membership, defaults, and the text that queries compare. */
public final class Types {
  private static final DateTimeFormatter COMPACT =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HH:mm:ss'Z'").withZone(ZoneOffset.UTC);

  private static final Instant FIRST = Instant.parse("0001-01-01T00:00:00Z");
  private static final Instant LAST = Instant.parse("9999-12-31T23:59:59Z");
  private static final Map<String, Type> PARSED = new ConcurrentHashMap<>();

  private Types() {}

  /**
   * Parses the notation of the data model: {@code "(VDI ref -> SR ref) map"}. Only for texts of the
   * model itself: what was parsed is remembered.
   *
   * @throws IllegalArgumentException when it is no type
   */
  public static Type parse(String text) {
    Type known = PARSED.get(text);
    if (known == null) {
      known = read(text);
      PARSED.put(text, known);
    }
    return known;
  }

  private static Type read(String text) {
    if (text.endsWith(" set")) {
      return new Type.SetOf(parse(text.substring(0, text.length() - 4)));
    }
    if (text.endsWith(" option")) {
      return new Type.OptionOf(parse(text.substring(0, text.length() - 7)));
    }
    if (text.startsWith("(") && text.endsWith(") map")) {
      String inner = text.substring(1, text.length() - 5);
      int depth = 0;
      for (int i = 0; i < inner.length(); i++) {
        char c = inner.charAt(i);
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (depth == 0 && inner.startsWith(" -> ", i)) {
          return new Type.MapOf(parse(inner.substring(0, i)), parse(inner.substring(i + 4)));
        }
      }
    }
    if (text.endsWith(" ref")) {
      return new Type.RefTo(text.substring(0, text.length() - 4));
    }
    if (text.endsWith(" record")) {
      return new Type.RecordOf(text.substring(0, text.length() - 7));
    }
    if (text.startsWith("enum ")) {
      return new Type.EnumOf(text.substring(5));
    }
    return switch (text) {
      case "string", "secretstring" -> Type.Basic.STRING;
      case "int" -> Type.Basic.INT;
      case "float" -> Type.Basic.FLOAT;
      case "bool" -> Type.Basic.BOOL;
      case "datetime" -> Type.Basic.DATETIME;
      case "void" -> Type.Basic.VOID;
      default -> throw new IllegalArgumentException("No type is written " + text);
    };
  }

  /** The data model's notation of a type. */
  public static String text(Type type) {
    return switch (type) {
      case Type.Basic b ->
          switch (b) {
            case STRING -> "string";
            case INT -> "int";
            case FLOAT -> "float";
            case BOOL -> "bool";
            case DATETIME -> "datetime";
            case VOID -> "void";
          };
      case Type.RefTo r -> r.className() + " ref";
      case Type.EnumOf e -> "enum " + e.enumName();
      case Type.SetOf s -> text(s.element()) + " set";
      case Type.MapOf m -> "(" + text(m.key()) + " -> " + text(m.value()) + ") map";
      case Type.RecordOf r -> r.className() + " record";
      case Type.OptionOf o -> text(o.inner()) + " option";
    };
  }

  /**
   * What is wrong with the value as one of the type; empty when it is one. References may dangle,
   * but look like references.
   */
  public static Optional<String> fault(Type type, Value value) {
    return fits(type, value)
        ? Optional.empty()
        : Optional.of(databaseText(value) + " is no " + text(type));
  }

  private static boolean fits(Type type, Value value) {
    return switch (type) {
      case Type.Basic b ->
          switch (b) {
            case STRING -> value instanceof Value.Text;
            case INT -> value instanceof Value.Int;
            case FLOAT -> value instanceof Value.Real;
            case BOOL -> value instanceof Value.Bool;
            case DATETIME -> value instanceof Value.Time;
            case VOID -> value.equals(Value.VOID);
          };
      case Type.RefTo _ -> value instanceof Value.Text t && isRef(t.text());
      case Type.EnumOf e ->
          value instanceof Value.Text t && DataModel.words(e.enumName()).contains(t.text());
      case Type.SetOf s ->
          value instanceof Value.Array a && a.items().stream().allMatch(i -> fits(s.element(), i));
      case Type.MapOf m ->
          value instanceof Value.Struct s
              && s.members().entrySet().stream()
                  .allMatch(e -> keyFits(m.key(), e.getKey()) && fits(m.value(), e.getValue()));
      case Type.RecordOf _ -> value instanceof Value.Struct;
      case Type.OptionOf o -> fits(o.inner(), value);
    };
  }

  private static boolean keyFits(Type type, String key) {
    if (type == Type.Basic.INT) {
      return key.matches("-?[0-9]{1,18}");
    }
    return fits(type, new Value.Text(key));
  }

  private static boolean isRef(String text) {
    return text.startsWith(Ref.PREFIX) || text.isEmpty() || text.startsWith("DummyRef:");
  }

  /** What a field of the type has when nobody said otherwise. */
  public static Value zero(Type type) {
    return switch (type) {
      case Type.Basic b ->
          switch (b) {
            case STRING, VOID -> Value.VOID;
            case INT -> Value.of(0L);
            case FLOAT -> Value.of(0.0);
            case BOOL -> Value.of(false);
            case DATETIME -> Value.of(Instant.EPOCH);
          };
      case Type.RefTo _ -> Value.of(Ref.nullRef());
      case Type.EnumOf e -> Value.of(DataModel.words(e.enumName()).getFirst());
      case Type.SetOf _ -> Value.EMPTY_ARRAY;
      case Type.MapOf _, Type.RecordOf _ -> Value.EMPTY_STRUCT;
      case Type.OptionOf o -> zero(o.inner());
    };
  }

  /**
   * The text of a value that the query language compares: {@code true}, {@code 42}, {@code
   * 20260102T03:04:05Z}, {@code ('a' 'b')}, {@code (('k' 'v'))}. Quotes and backslashes inside
   * elements are escaped with a backslash.
   */
  public static String databaseText(Value value) {
    return switch (value) {
      case Value.Text t -> t.text();
      case Value.Int i -> Long.toString(i.value());
      case Value.Real r -> real(r.value());
      case Value.Bool b -> Boolean.toString(b.value());
      case Value.Time t -> COMPACT.format(written(t.instant()));
      case Value.Array a ->
          a.items().stream().map(Types::element).collect(Collectors.joining(" ", "(", ")"));
      case Value.Struct s ->
          s.members().entrySet().stream()
              .map(e -> "(" + quoted(e.getKey()) + " " + element(e.getValue()) + ")")
              .collect(Collectors.joining(" ", "(", ")"));
    };
  }

  /** What lies beyond the years that the text has is their end. */
  private static Instant written(Instant instant) {
    return instant.isBefore(FIRST) ? FIRST : instant.isAfter(LAST) ? LAST : instant;
  }

  /** The shortest of {@code %.16g}'s spellings: {@code 1}, {@code 0.25}, {@code nan}. */
  private static String real(double d) {
    if (Double.isNaN(d)) {
      return "nan";
    }
    if (Double.isInfinite(d)) {
      return d > 0 ? "inf" : "-inf";
    }
    if (d == Math.rint(d) && Math.abs(d) < 1e15) {
      return Long.toString((long) d);
    }
    return Double.toString(d);
  }

  private static String element(Value v) {
    return v instanceof Value.Array || v instanceof Value.Struct
        ? databaseText(v)
        : quoted(databaseText(v));
  }

  private static String quoted(String s) {
    return "'" + s.replace("\\", "\\\\").replace("'", "\\'") + "'";
  }

  /** All references inside a value of the type, null references left out. */
  public static List<String> refs(Type type, Value value) {
    return switch (type) {
      case Type.RefTo _ ->
          value instanceof Value.Text t && !Ref.of(t.text()).isNull()
              ? List.of(t.text())
              : List.of();
      case Type.SetOf s when value instanceof Value.Array a ->
          a.items().stream().flatMap(i -> refs(s.element(), i).stream()).toList();
      case Type.MapOf m when value instanceof Value.Struct s ->
          s.members().entrySet().stream()
              .flatMap(e ->
                  java.util.stream.Stream.concat(
                      refs(m.key(), Value.of(e.getKey())).stream(),
                      refs(m.value(), e.getValue()).stream()))
              .toList();
      default -> List.of();
    };
  }
}
