package io.xenferry.server.schema;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Type;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** Rows by the names of fields, for code that handles all classes alike. Stateless. */
public final class Schema {

  /** As event subscriptions name classes. */
  public Optional<ClassDef> findIgnoringCase(String className) {
    return DataModel.classNames().stream()
        .filter(n -> n.equalsIgnoreCase(className))
        .findFirst()
        .flatMap(DataModel::findClass);
  }

  /** A field that the server's own code names, so that it must exist. */
  public FieldDef field(String className, String name) {
    return DataModel.field(className, name)
        .orElseThrow(() -> new IllegalArgumentException("no field " + className + "." + name));
  }

  /** HANDLE_INVALID when it is gone. */
  public static Row row(Snapshot snapshot, String className, String ref) throws XenApiException {
    return snapshot
        .row(className, ref)
        .orElseThrow(() -> new XenApiException("HANDLE_INVALID", className, ref));
  }

  /**
   * HANDLE_INVALID when a reference in the fields is to an object that does not exist; null
   * references are fine.
   */
  public static void requireReferences(
      Snapshot snapshot, String className, Map<String, Value> fields) throws XenApiException {
    for (Map.Entry<String, Value> e : fields.entrySet()) {
      Optional<FieldDef> field = DataModel.field(className, e.getKey());
      if (field.isPresent()) {
        requireReferences(snapshot, field.get().type(), e.getValue());
      }
    }
  }

  /** The same for one value. */
  public static void requireReferences(Snapshot snapshot, Type type, Value value)
      throws XenApiException {
    switch (type) {
      case Type.RefTo r -> {
        for (String ref : Types.refs(type, value)) {
          row(snapshot, r.className(), ref);
        }
      }
      case Type.SetOf s when value instanceof Value.Array(List<Value> items) -> {
        for (Value item : items) {
          requireReferences(snapshot, s.element(), item);
        }
      }
      case Type.MapOf m when value instanceof Value.Struct(SequencedMap<String, Value> members) -> {
        for (Map.Entry<String, Value> e : members.entrySet()) {
          requireReferences(snapshot, m.key(), Value.of(e.getKey()));
          requireReferences(snapshot, m.value(), e.getValue());
        }
      }
      case Type.OptionOf o -> requireReferences(snapshot, o.inner(), value);
      case Type.Basic _, Type.EnumOf _, Type.RecordOf _, Type.SetOf _, Type.MapOf _ -> {}
    }
  }

  public Value get(Row row, String field) {
    return row.get(field(row.className(), field));
  }

  public String text(Row row, String field) {
    return ((Value.Text) get(row, field)).text();
  }

  public boolean bool(Row row, String field) {
    return ((Value.Bool) get(row, field)).value();
  }

  public long integer(Row row, String field) {
    return ((Value.Int) get(row, field)).value();
  }

  /** Texts of a set of strings, references or words. */
  public List<String> texts(Row row, String field) {
    return ((Value.Array) get(row, field))
        .items().stream().map(v -> ((Value.Text) v).text()).toList();
  }

  /** A map of texts, a copy. */
  public SequencedMap<String, String> textMap(Row row, String field) {
    SequencedMap<String, String> map = new LinkedHashMap<>();
    ((Value.Struct) get(row, field)).members().forEach((k, v) -> map.put(k, Types.databaseText(v)));
    return map;
  }

  public void set(Transaction tx, String className, String ref, String field, Value value)
      throws XenApiException {
    tx.set(className, ref, field(className, field), value);
  }

  /** The record of all fields, as get_record and events have it. */
  public Value.Struct record(Row row) {
    SequencedMap<String, Value> members = new LinkedHashMap<>();
    for (FieldDef f : DataModel.classDef(row.className()).fields()) {
      if (!f.internal()) {
        members.put(f.name(), row.get(f));
      }
    }
    return new Value.Struct(members);
  }
}
