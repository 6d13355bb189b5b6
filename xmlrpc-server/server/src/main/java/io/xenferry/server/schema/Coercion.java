package io.xenferry.server.schema;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Type;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.Dates;
import io.xenferry.wire.Doubles;
import io.xenferry.wire.WireException;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/**
 * Brings values that came in to their declared types: integers come as text, dates as text,
 * references may be empty, and what a set holds twice it holds once. What does not fit is
 * INVALID_VALUE [name, value].
 */
public final class Coercion {
  private Coercion() {}

  /**
   * @param name of the parameter or field, for the error
   */
  public static Value coerce(String name, Type type, Value value) throws XenApiException {
    return switch (type) {
      case Type.Basic basic -> basic(name, basic, value);
      case Type.RefTo r -> Value.of(Ref.of(text(name, value)));
      case Type.EnumOf e -> {
        String word = text(name, value);
        if (!DataModel.words(e.enumName()).contains(word)) {
          throw invalid(name, word);
        }
        yield value;
      }
      case Type.SetOf s -> {
        if (!(value instanceof Value.Array(List<Value> items))) {
          throw invalid(name, brief(value));
        }
        Set<Value> result = new LinkedHashSet<>();
        for (Value item : items) {
          result.add(coerce(name, s.element(), item));
        }
        yield new Value.Array(List.copyOf(result));
      }
      case Type.MapOf m -> {
        if (!(value instanceof Value.Struct(SequencedMap<String, Value> members))) {
          throw invalid(name, brief(value));
        }
        SequencedMap<String, Value> result = new LinkedHashMap<>();
        for (Map.Entry<String, Value> e : members.entrySet()) {
          coerce(name, m.key(), Value.of(e.getKey()));
          result.put(e.getKey(), coerce(name + "." + e.getKey(), m.value(), e.getValue()));
        }
        yield new Value.Struct(result);
      }
      case Type.RecordOf r -> record(name, r.className(), value);
      case Type.OptionOf o -> coerce(name, o.inner(), value);
    };
  }

  private static Value record(String name, String className, Value value) throws XenApiException {
    if (!(value instanceof Value.Struct(SequencedMap<String, Value> members))) {
      throw invalid(name, brief(value));
    }
    SequencedMap<String, Value> result = new LinkedHashMap<>();
    ClassDef c = DataModel.findClass(className).orElse(null);
    if (c == null) {
      return value;
    }
    for (FieldDef f : c.fields()) {
      Value member = members.get(f.name());
      if (member != null) {
        result.put(f.name(), coerce(f.name(), f.type(), member));
      }
    }
    return new Value.Struct(result);
  }

  private static Value basic(String name, Type.Basic type, Value value) throws XenApiException {
    try {
      return switch (type) {
        case STRING -> Value.of(text(name, value));
        case INT ->
            switch (value) {
              case Value.Int i -> i;
              case Value.Text t -> Value.of(Long.parseLong(t.text().strip()));
              default -> throw invalid(name, brief(value));
            };
        case FLOAT ->
            switch (value) {
              case Value.Real _, Value.Int _, Value.Text _ -> finite(name, real(name, value));
              default -> throw invalid(name, brief(value));
            };
        case BOOL -> {
          if (value instanceof Value.Bool) {
            yield value;
          }
          throw invalid(name, brief(value));
        }
        case DATETIME ->
            switch (value) {
              case Value.Time t -> t;
              case Value.Text t -> {
                Instant parsed = Dates.parse(t.text());
                yield Value.of(parsed);
              }
              default -> throw invalid(name, brief(value));
            };
        case VOID -> Value.VOID;
      };
    } catch (NumberFormatException | WireException e) {
      throw invalid(name, brief(value)).withCause(e);
    }
  }

  /** A float that may be NaN or infinite, where that has a meaning; else as {@link #coerce}. */
  public static Value.Real real(String name, Value value) throws XenApiException {
    try {
      return switch (value) {
        case Value.Real r -> r;
        case Value.Int i -> new Value.Real((double) i.value());
        case Value.Text t -> new Value.Real(Doubles.parse(t.text()));
        default -> throw invalid(name, brief(value));
      };
    } catch (WireException e) {
      throw invalid(name, brief(value)).withCause(e);
    }
  }

  private static Value finite(String name, Value.Real number) throws XenApiException {
    if (!Double.isFinite(number.value())) {
      throw invalid(name, Double.toString(number.value()));
    }
    return number;
  }

  private static String text(String name, Value value) throws XenApiException {
    return switch (value) {
      case Value.Text t -> t.text();
      case Value.Int i -> Long.toString(i.value()); // some clients tag numbers in string maps
      default -> throw invalid(name, brief(value));
    };
  }

  private static XenApiException invalid(String name, String value) {
    return new XenApiException("INVALID_VALUE", name, value);
  }

  private static String brief(Value value) {
    String s = Types.databaseText(value);
    return s.length() <= 200 ? s : s.substring(0, 200);
  }
}
