package io.xenferry.model;

import java.time.Instant;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Function;

/**
 * Between a stored value and its Java type.
 *
 * @param type what values it takes
 * @param toJava throws {@link IllegalArgumentException} for a value of another type
 */
public record Codec<V>(Type type, Function<Value, V> toJava, Function<V, Value> toValue) {

  public static final Codec<String> STRING = new Codec<>(Type.Basic.STRING, Codec::text, Value::of);

  public static final Codec<Long> INT =
      new Codec<>(
          Type.Basic.INT,
          v -> v instanceof Value.Int i ? i.value() : Codec.<Long>wrong(v, "an int"),
          Value::of);

  public static final Codec<Double> FLOAT =
      new Codec<>(
          Type.Basic.FLOAT,
          v -> v instanceof Value.Real r ? r.value() : Codec.<Double>wrong(v, "a float"),
          Value::of);

  public static final Codec<Boolean> BOOL =
      new Codec<>(
          Type.Basic.BOOL,
          v -> v instanceof Value.Bool b ? b.value() : Codec.<Boolean>wrong(v, "a bool"),
          Value::of);

  public static final Codec<Instant> DATETIME =
      new Codec<>(
          Type.Basic.DATETIME,
          v -> v instanceof Value.Time t ? t.instant() : Codec.<Instant>wrong(v, "a datetime"),
          Value::of);

  /** Values of any other type, as they are. */
  public static Codec<Value> plain(String type) {
    return new Codec<>(Types.parse(type), Function.identity(), Function.identity());
  }

  public static <T> Codec<Ref<T>> ref(String className) {
    return new Codec<>(new Type.RefTo(className), v -> Ref.of(text(v)), Value::of);
  }

  public static <E extends Enum<E> & WireWord> Codec<E> word(String name, Class<E> constants) {
    Map<String, E> byWire = new HashMap<>();
    for (E c : constants.getEnumConstants()) {
      byWire.put(c.wire(), c);
    }
    return new Codec<>(
        new Type.EnumOf(name),
        v -> {
          E c = byWire.get(text(v));
          return c != null ? c : wrong(v, "a word of " + name);
        },
        c -> Value.of(c.wire()));
  }

  public static <V> Codec<List<V>> list(Codec<V> element) {
    return new Codec<>(
        new Type.SetOf(element.type),
        v ->
            v instanceof Value.Array a
                ? a.items().stream().map(element.toJava).toList()
                : Codec.<List<V>>wrong(v, "a set"),
        items -> new Value.Array(items.stream().map(element.toValue).toList()));
  }

  /** Maps keep their order. */
  public static <K, V> Codec<Map<K, V>> map(Codec<K> key, Codec<V> value) {
    return new Codec<>(
        new Type.MapOf(key.type, value.type),
        v -> {
          if (!(v instanceof Value.Struct s)) {
            return wrong(v, "a map");
          }
          Map<K, V> out = LinkedHashMap.newLinkedHashMap(s.members().size());
          s.members().forEach((k, e) -> out.put(key(key, k), value.toJava.apply(e)));
          return Collections.unmodifiableMap(out);
        },
        m -> {
          SequencedMap<String, Value> out = LinkedHashMap.newLinkedHashMap(m.size());
          m.forEach(
              (k, e) -> out.put(Types.databaseText(key.toValue.apply(k)), value.toValue.apply(e)));
          return new Value.Struct(out);
        });
  }

  /** Keys are text in a {@link Value.Struct}, whatever their type. */
  private static <K> K key(Codec<K> codec, String text) {
    return codec.toJava.apply(
        codec.type == Type.Basic.INT ? Value.of(Long.parseLong(text)) : Value.of(text));
  }

  private static String text(Value v) {
    return v instanceof Value.Text t ? t.text() : wrong(v, "a string");
  }

  private static <V> V wrong(Value v, String wanted) {
    throw new IllegalArgumentException(v + " is not " + wanted);
  }
}
