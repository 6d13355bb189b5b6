package io.xenferry.model;

import java.time.Instant;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * A value of the XenAPI, apart from any wire format. Immutable.
 *
 * <p>Strings, references, uuids and words of enumerations are all {@link Text}; {@link Type} tells
 * them apart. Maps and records are both {@link Struct}: keys are text, in a fixed order.
 */
public sealed interface Value {

  record Text(String text) implements Value {}

  record Int(long value) implements Value {}

  record Real(double value) implements Value {}

  record Bool(boolean value) implements Value {}

  /** A point in time; the wire shows whole seconds, UTC. */
  record Time(Instant instant) implements Value {}

  record Array(List<Value> items) implements Value {
    public Array {
      items = List.copyOf(items);
    }
  }

  record Struct(SequencedMap<String, Value> members) implements Value {
    public Struct {
      members = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(members));
    }

    public static Struct of(Map<String, Value> members) {
      return new Struct(new LinkedHashMap<>(members));
    }
  }

  /** What a void call answers: the empty string on the XenAPI's wire. */
  Value VOID = new Text("");

  Value EMPTY_ARRAY = new Array(List.of());

  Value EMPTY_STRUCT = new Struct(new LinkedHashMap<>());

  static Value of(String text) {
    return new Text(text);
  }

  static Value of(long value) {
    return new Int(value);
  }

  static Value of(double value) {
    return new Real(value);
  }

  static Value of(boolean value) {
    return new Bool(value);
  }

  static Value of(Instant instant) {
    return new Time(instant);
  }

  static Value of(Ref<?> ref) {
    return new Text(ref.opaque());
  }

  static Value ofTexts(List<String> items) {
    return new Array(items.stream().map(Value::of).toList());
  }

  static Value ofTexts(Map<String, String> members) {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    members.forEach((k, v) -> m.put(k, new Text(v)));
    return new Struct(m);
  }
}
