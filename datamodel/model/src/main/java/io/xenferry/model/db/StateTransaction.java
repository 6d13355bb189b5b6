package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.ErrorCode;
import io.xenferry.model.Field;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Type;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Changes on top of a state, and what a store has to write for them. One thread. */
final class StateTransaction extends StateSnapshot implements Transaction {
  private State state;
  private final Map<Long, RowWrite> writes = new LinkedHashMap<>();
  private final Supplier<UUID> uuids;
  private boolean open = true;

  StateTransaction(State base) {
    this(base, UUID::randomUUID);
  }

  /**
   * @param uuids where references and uuids of new objects come from
   */
  StateTransaction(State base, Supplier<UUID> uuids) {
    super(base);
    this.uuids = uuids;
    this.state = base.atGeneration(base.generation() + 1);
  }

  @Override
  State state() {
    return state;
  }

  /** What changed, one entry an object. */
  Collection<RowWrite> writes() {
    return writes.values();
  }

  /** Refuses what comes after the end of the work. */
  void end() {
    open = false;
  }

  @Override
  public String create(String className, Map<String, Value> fieldsByName) throws XenApiException {
    String ref = Ref.withUuid(uuids.get()).opaque();
    create(className, ref, fieldsByName);
    return ref;
  }

  @Override
  public void create(String className, String ref, Map<String, Value> fieldsByName)
      throws XenApiException {
    checkOpen();
    ClassDef c = DataModel.classDef(className);
    if (!c.inDatabase()) {
      throw new IllegalArgumentException(className + " has no objects");
    }
    if (!ref.startsWith(Ref.PREFIX) || state.seqs().get(ref) != null) {
      throw new IllegalArgumentException(ref + " cannot be the reference of a new object");
    }
    Value[] values = new Value[c.fields().size()];
    Map<FieldDef, Value> given = given(c, fieldsByName);
    List<FieldDef> otherEnds = new ArrayList<>();
    for (FieldDef f : c.fields()) {
      Value v = given.get(f);
      if (f.view().isPresent()) {
        if (v != null && Relations.manyToMany(f)) {
          otherEnds.add(f);
        } else if (v != null) {
          throw new IllegalArgumentException(f + " follows from other objects");
        }
        values[f.index()] = Value.EMPTY_ARRAY;
      } else {
        values[f.index()] = v != null ? checked(f, v) : initial(f);
      }
    }
    StoredRow row = new StoredRow(c, ref, state.nextSeq(), generation(), generation(), values);
    checkUnique(row);
    put(row);
    touchTargets(null, row);
    for (FieldDef f : otherEnds) {
      Value v = given.get(f);
      if (v != null) {
        setOtherEnds(row, f, v);
      }
    }
  }

  private static Map<FieldDef, Value> given(ClassDef c, Map<String, Value> fieldsByName) {
    Map<FieldDef, Value> given = new LinkedHashMap<>();
    fieldsByName.forEach((name, value) ->
        given.put(
            c.field(name)
                .orElseThrow(() -> new IllegalArgumentException(c + " has no field " + name)),
            value));
    return given;
  }

  private Value initial(FieldDef f) {
    return f.name().equals("uuid") ? Value.of(uuids.get().toString()) : f.initial();
  }

  @Override
  public void set(String className, String ref, FieldDef field, Value value)
      throws XenApiException {
    checkOpen();
    StoredRow row = stored(className, ref);
    if (!field.className().equals(className)) {
      throw new IllegalArgumentException(field + " is no field of " + className);
    }
    if (field.view().isPresent()) {
      if (!Relations.manyToMany(field)) {
        throw new IllegalArgumentException(field + " follows from other objects");
      }
      setOtherEnds(row, field, checked(field, value));
      return;
    }
    Value v = checked(field, value);
    if (row.value(field).equals(v)) {
      return;
    }
    StoredRow after = row.with(field, v, generation());
    if (field.name().equals("uuid")) {
      checkUnique(after);
    }
    put(after);
    touchTargets(row, after);
  }

  @Override
  public <T, V> void set(Ref<T> ref, Field<T, V> field, V value) throws XenApiException {
    set(field.def().className(), ref.opaque(), field.def(), field.toValue().apply(value));
  }

  @Override
  public void delete(String className, String ref) throws XenApiException {
    checkOpen();
    StoredRow row = stored(className, ref);
    state = state.without(row, row.classDef().events());
    if (row.created() == generation()) {
      writes.remove(row.seq());
    } else {
      writes.put(row.seq(), new RowWrite.Remove(row, generation()));
    }
    touchTargets(row, null);
  }

  @Override
  public void touch(String className, String ref) throws XenApiException {
    checkOpen();
    touch(stored(className, ref));
  }

  private void touch(StoredRow row) {
    if (row.modified() == generation()) {
      return;
    }
    StoredRow touched = row.touched(generation());
    state = state.with(touched);
    writes.put(row.seq(), new RowWrite.Touch(touched));
  }

  private void put(StoredRow row) {
    state = state.with(row);
    writes.put(row.seq(), new RowWrite.Put(row));
  }

  /** Objects whose views gained or lost the row have changed, too. */
  private void touchTargets(@Nullable StoredRow before, @Nullable StoredRow after) {
    @Nullable StoredRow any = after == null ? before : after;
    if (any == null) {
      return;
    }
    for (FieldDef end : Relations.storedEnds(any.classDef().name())) {
      String viewClass = Relations.viewOf(end).orElseThrow().className();
      Set<String> old = new HashSet<>(State.targets(before, end));
      Set<String> now = new HashSet<>(State.targets(after, end));
      Set<String> both = new HashSet<>(old);
      both.retainAll(now);
      old.addAll(now);
      old.removeAll(both);
      for (String target : old) {
        StoredRow row = state.row(viewClass, target);
        if (row != null) {
          touch(row);
        }
      }
    }
  }

  /** Sets a view between two sets by changing the other objects. */
  private void setOtherEnds(StoredRow row, FieldDef view, Value wanted) throws XenApiException {
    FieldDef end = Relations.stored(view.view().orElseThrow());
    Set<String> now = new HashSet<>(Types.refs(view.type(), state.view(view, row.ref())));
    Set<String> then = new HashSet<>(Types.refs(view.type(), checked(view, wanted)));
    Set<String> all = new HashSet<>(now);
    all.addAll(then);
    for (String other : all) {
      StoredRow o = state.row(end.className(), other);
      if (o == null || now.contains(other) == then.contains(other)) {
        continue;
      }
      List<Value> items = new ArrayList<>();
      State.targets(o, end).stream()
          .filter(r -> !r.equals(row.ref()))
          .forEach(r -> items.add(Value.of(r)));
      if (then.contains(other)) {
        items.add(Value.of(row.ref()));
      }
      set(end.className(), other, end, new Value.Array(items));
    }
  }

  private StoredRow stored(String className, String ref) throws XenApiException {
    StoredRow row = state.row(className, ref);
    if (row == null) {
      throw new XenApiException(ErrorCode.HANDLE_INVALID, className, ref);
    }
    return row;
  }

  private void checkUnique(StoredRow row) throws XenApiException {
    String uuid = State.uuid(row);
    String name = row.classDef().name();
    if (uuid == null) {
      return;
    }
    String holder = state.table(name).uuids().get(uuid);
    if (holder != null && !holder.equals(row.ref())) {
      throw new XenApiException(ErrorCode.DB_UNIQUENESS_CONSTRAINT_VIOLATION, name, "uuid", uuid);
    }
  }

  private static Value checked(FieldDef f, Value v) throws XenApiException {
    Optional<String> fault = Types.fault(f.type(), v);
    if (fault.isPresent()) {
      throw new XenApiException(ErrorCode.INVALID_VALUE, f.name(), Types.databaseText(v));
    }
    return f.type() instanceof Type.RefTo && v.equals(Value.VOID) ? Value.of(Ref.nullRef()) : v;
  }

  private void checkOpen() {
    if (!open) {
      throw new IllegalStateException("The transaction has ended");
    }
  }
}
