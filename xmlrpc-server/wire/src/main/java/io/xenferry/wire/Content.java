package io.xenferry.wire;

import io.xenferry.model.Value;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * What a call answers. Large answers are walked while they are written, so that the records of a
 * hundred thousand objects are never in memory together.
 */
public sealed interface Content {

  record Plain(Value value) implements Content {}

  /** A struct; the members are produced one by one. */
  record Members(Iterable<Map.Entry<String, Content>> members) implements Content {}

  /** An array; the items are produced one by one. */
  record Items(Iterable<Content> items) implements Content {}

  /** The one integer that XenAPI tags as such: counts in {@code valid_ref_counts}. */
  record Int32(int value) implements Content {}

  Content VOID = new Plain(Value.VOID);

  static Content of(Value value) {
    return new Plain(value);
  }

  /** Everything in memory, for callers in process. */
  default Value toValue() {
    return switch (this) {
      case Plain p -> p.value();
      case Int32 i -> Value.of((long) i.value());
      case Items a -> {
        List<Value> items = new ArrayList<>();
        a.items().forEach(c -> items.add(c.toValue()));
        yield new Value.Array(items);
      }
      case Members m -> {
        SequencedMap<String, Value> members = new LinkedHashMap<>();
        m.members().forEach(e -> members.put(e.getKey(), e.getValue().toValue()));
        yield new Value.Struct(members);
      }
    };
  }
}
