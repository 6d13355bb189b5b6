package io.xenferry.server.call;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.query.Query;
import io.xenferry.server.schema.Schema;
import io.xenferry.wire.Content;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Predicate;

/** Everything that follows from the fields of a class, for every class. Stateless. */
public final class Accessors {
  private final ObjectDatabase db;
  private final Schema schema;

  public Accessors(ObjectDatabase db, Schema schema) {
    this.db = db;
    this.schema = schema;
  }

  Content call(Call c) throws XenApiException {
    MessageDef m = c.message();
    ClassDef type = DataModel.classDef(m.className());
    return switch (DataModel.kindOf(m)) {
      case GET -> Content.of(row(c).get(field(m)));
      case GET_RECORD -> Content.of(schema.record(row(c)));
      case GET_BY_UUID -> Content.of(Value.of(byUuid(type, c.text(0))));
      case GET_BY_NAME_LABEL -> Content.of(byNameLabel(type, c.text(0)));
      case GET_ALL -> Content.of(refs(rows(type, r -> true)));
      case GET_ALL_WHERE -> Content.of(refs(matching(type, c.text(0))));
      case GET_ALL_RECORDS -> records(rows(type, r -> true));
      case GET_ALL_RECORDS_WHERE -> records(matching(type, c.text(0)));
      case SET, ADD, REMOVE -> {
        change(c, tx -> {});
        yield Content.VOID;
      }
      case CREATE -> Content.of(Value.of(create(type, c.members(0))));
      case DESTROY -> {
        db.change(tx -> {
          Schema.row(tx, type.name(), c.text(0));
          tx.delete(type.name(), c.text(0));
        });
        yield Content.VOID;
      }
      case CUSTOM -> throw new XenApiException("NOT_IMPLEMENTED", m.wireName());
    };
  }

  /**
   * Stores what a setter, an adder or a remover was given, and whatever follows from it in the same
   * transaction.
   */
  public static void change(Call c, ObjectDatabase.Change then) throws XenApiException {
    MessageDef m = c.message();
    FieldDef f = field(m);
    MessageDef.Kind kind = DataModel.kindOf(m);
    String ref = c.text(0);
    c.server()
        .db()
        .change(tx -> {
          Row row = Schema.row(tx, m.className(), ref);
          Value old = row.get(f);
          Value value =
              switch (kind) {
                case SET -> ReservedKeys.kept(f, old, c.arg(1));
                case ADD -> added(c, old);
                case REMOVE -> removed(c, old);
                default -> throw new IllegalArgumentException(m.wireName() + " stores nothing");
              };
          if (!value.equals(old)) {
            // A reference that dangles already may stay, in a set from which another goes.
            if (kind != MessageDef.Kind.REMOVE) {
              Schema.requireReferences(tx, f.type(), value);
            }
            tx.set(m.className(), ref, f, value);
            then.apply(tx);
          }
        });
  }

  private static Value added(Call c, Value old) throws XenApiException {
    switch (old) {
      case Value.Array(List<Value> items) -> {
        if (items.contains(c.arg(1))) {
          return old;
        }
        List<Value> more = new ArrayList<>(items);
        more.add(c.arg(1));
        return new Value.Array(more);
      }
      case Value.Struct(SequencedMap<String, Value> members) -> {
        String key = key(c.arg(1));
        ReservedKeys.refuse(field(c.message()), key);
        if (members.containsKey(key)) {
          throw new XenApiException(
              "MAP_DUPLICATE_KEY",
              c.message().className(),
              field(c.message()).name(),
              c.text(0),
              key);
        }
        SequencedMap<String, Value> more = new LinkedHashMap<>(members);
        more.put(key, c.arg(2));
        return new Value.Struct(more);
      }
      default -> throw new IllegalStateException("neither a set nor a map");
    }
  }

  private static Value removed(Call c, Value old) throws XenApiException {
    return switch (old) {
      case Value.Array(List<Value> items) ->
          new Value.Array(items.stream().filter(v -> !v.equals(c.arg(1))).toList());
      case Value.Struct(SequencedMap<String, Value> members) -> {
        String key = key(c.arg(1));
        ReservedKeys.refuse(field(c.message()), key);
        SequencedMap<String, Value> fewer = new LinkedHashMap<>(members);
        fewer.remove(key);
        yield new Value.Struct(fewer);
      }
      default -> throw new IllegalStateException("neither a set nor a map");
    };
  }

  private static String key(Value v) {
    return v instanceof Value.Int(long i) ? Long.toString(i) : ((Value.Text) v).text();
  }

  /**
   * Makes an object from a constructor's record; members that the constructor does not take are
   * ignored.
   */
  public String create(ClassDef type, Map<String, Value> members) throws XenApiException {
    Map<String, Value> fields = constructorFields(type, members);
    return db.write(tx -> {
      Schema.requireReferences(tx, type.name(), fields);
      return tx.create(type.name(), fields);
    });
  }

  /**
   * @throws XenApiException INVALID_VALUE when one without a default is missing
   */
  public static Map<String, Value> constructorFields(ClassDef type, Map<String, Value> members)
      throws XenApiException {
    Map<String, Value> fields = new LinkedHashMap<>();
    for (FieldDef f : type.constructorFields()) {
      Value v = members.get(f.name());
      if (v != null) {
        fields.put(f.name(), ReservedKeys.without(f, v));
      } else if (f.defaultValue().isEmpty()) {
        throw new XenApiException("INVALID_VALUE", f.name(), "missing in the record");
      }
    }
    return fields;
  }

  private Row row(Call c) throws XenApiException {
    return Schema.row(db.snapshot(), c.message().className(), c.text(0));
  }

  private static FieldDef field(MessageDef m) {
    return m.field().orElseThrow(() -> new IllegalStateException(m.wireName() + " has no field"));
  }

  private String byUuid(ClassDef type, String uuid) throws XenApiException {
    return db.snapshot()
        .byUuid(type.name(), uuid)
        .map(Row::ref)
        .orElseThrow(() -> new XenApiException("UUID_INVALID", type.name(), uuid));
  }

  private Value byNameLabel(ClassDef type, String label) {
    FieldDef f = schema.field(type.name(), "name_label");
    return refs(rows(type, r -> r.get(f).equals(Value.of(label))));
  }

  private Collection<Row> matching(ClassDef type, String expression) throws XenApiException {
    Query query = Query.parse(type, expression);
    return type.inDatabase() ? query.run(db.snapshot()) : List.of();
  }

  private Collection<Row> rows(ClassDef type, Predicate<Row> wanted) {
    if (!type.inDatabase()) {
      return List.of();
    }
    return db.snapshot().rows(type.name()).stream().filter(wanted).toList();
  }

  private static Value refs(Collection<Row> rows) {
    return Value.ofTexts(rows.stream().map(Row::ref).toList());
  }

  /** Rows are shared with the database; records are made one by one while they are written. */
  private Content records(Collection<Row> rows) {
    return new Content.Members(() ->
        rows.stream()
            .map(r -> Map.entry(r.ref(), Content.of((Value) schema.record(r))))
            .iterator());
  }
}
