package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Type;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.Value.Text;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The whole database as of one generation. Immutable; a change makes a new one that shares what did
 * not change.
 *
 * @param seqs the place of an object by its reference
 * @param tables by class
 * @param views by object and view field: who refers to the object, by age
 * @param changes the last change of each live object, and remembered deletions, in order
 */
record State(
    long generation,
    long nextSeq,
    PersistentMap<String, Long> seqs,
    PersistentMap<String, Table> tables,
    PersistentMap<String, PersistentMap<Long, String>> views,
    PersistentMap<ChangeKey, StoredRow> changes,
    PersistentMap<ChangeKey, Deletion> deletions) {

  /** How many deletions are remembered for clients that come back with an old token. */
  static final int DELETIONS_KEPT = 10_000;

  static final State EMPTY =
      new State(
          0,
          1,
          PersistentMap.empty(),
          PersistentMap.empty(),
          PersistentMap.empty(),
          PersistentMap.empty(),
          PersistentMap.empty());

  /** The objects of a class by age, and by uuid. */
  record Table(PersistentMap<Long, StoredRow> rows, PersistentMap<String, String> uuids) {
    static final Table EMPTY = new Table(PersistentMap.empty(), PersistentMap.empty());
  }

  Table table(String className) {
    Table t = tables.get(className);
    return t == null ? Table.EMPTY : t;
  }

  @Nullable StoredRow row(String className, String ref) {
    Long seq = seqs.get(ref);
    return seq == null ? null : table(className).rows.get(seq);
  }

  State atGeneration(long newGeneration) {
    return new State(newGeneration, nextSeq, seqs, tables, views, changes, deletions);
  }

  /** With a row that is new, or replaces that of the same object. */
  State with(StoredRow row) {
    ClassDef c = row.classDef();
    StoredRow before = row(c.name(), row.ref());
    Table t = table(c.name());
    PersistentMap<String, String> uuids = t.uuids;
    @Nullable String oldUuid = before == null ? null : uuid(before);
    @Nullable String newUuid = uuid(row);
    if (oldUuid != null && !oldUuid.equals(newUuid)) {
      uuids = uuids.without(oldUuid);
    }
    if (newUuid != null && !newUuid.equals(oldUuid)) {
      uuids = uuids.with(newUuid, row.ref());
    }
    PersistentMap<ChangeKey, StoredRow> ch = changes;
    if (before != null) {
      ch = ch.without(key(before));
    }
    return new State(
        generation,
        Math.max(nextSeq, row.seq() + 1),
        before == null ? seqs.with(row.ref(), row.seq()) : seqs,
        tables.with(c.name(), new Table(t.rows.with(row.seq(), row), uuids)),
        relate(views, before, row),
        ch.with(key(row), row),
        deletions);
  }

  /** Without an object; its deletion is remembered unless nobody can ask for it. */
  State without(StoredRow row, boolean remember) {
    String name = row.classDef().name();
    Table t = table(name);
    @Nullable String uuid = uuid(row);
    PersistentMap<ChangeKey, Deletion> del = deletions;
    if (remember) {
      Deletion d = new Deletion(name, row.ref(), row.seq(), row.created(), generation);
      del = del.with(new ChangeKey(generation, row.seq()), d);
      if (del.size() > DELETIONS_KEPT) {
        ChangeKey oldest = del.firstKey();
        del = oldest == null ? del : del.without(oldest);
      }
    }
    return new State(
        generation,
        nextSeq,
        seqs.without(row.ref()),
        tables.with(
            name,
            new Table(t.rows.without(row.seq()), uuid == null ? t.uuids : t.uuids.without(uuid))),
        relate(views, row, null),
        changes.without(key(row)),
        del);
  }

  State remembering(Deletion d) {
    return new State(
        generation,
        nextSeq,
        seqs,
        tables,
        views,
        changes,
        deletions.with(new ChangeKey(d.deleted(), d.seq()), d));
  }

  State withNextSeq(long seq) {
    return new State(generation, Math.max(nextSeq, seq), seqs, tables, views, changes, deletions);
  }

  static ChangeKey key(StoredRow row) {
    return new ChangeKey(row.modified(), row.seq());
  }

  static @Nullable String uuid(StoredRow row) {
    FieldDef f = row.classDef().field("uuid").orElse(null);
    return f != null && row.value(f) instanceof Text t && !t.text().isEmpty() ? t.text() : null;
  }

  /** What a view shows. */
  Value view(FieldDef view, String ref) {
    PersistentMap<Long, String> refs = views.get(viewKey(view, ref));
    if (!(view.type() instanceof Type.SetOf)) {
      @Nullable String only =
          refs == null || refs.isEmpty() ? null : refs.values().iterator().next();
      return only == null ? Types.zero(view.type()) : Value.of(only);
    }
    if (refs == null) {
      return Value.EMPTY_ARRAY;
    }
    List<Value> items = new ArrayList<>(refs.size());
    refs.values().forEach(r -> items.add(Value.of(r)));
    return new Value.Array(items);
  }

  /** The references in a stored end. */
  static List<String> targets(@Nullable StoredRow row, FieldDef storedEnd) {
    if (row == null) {
      return List.of();
    }
    return switch (row.value(storedEnd)) {
      case Text t -> Ref.of(t.text()).isNull() ? List.of() : List.of(t.text());
      case Value.Array a -> Types.refs(storedEnd.type(), a);
      default -> List.of();
    };
  }

  private static PersistentMap<String, PersistentMap<Long, String>> relate(
      PersistentMap<String, PersistentMap<Long, String>> views,
      @Nullable StoredRow before,
      @Nullable StoredRow after) {
    @Nullable StoredRow any = after == null ? before : after;
    if (any == null) {
      return views;
    }
    PersistentMap<String, PersistentMap<Long, String>> v = views;
    for (FieldDef end : Relations.storedEnds(any.classDef().name())) {
      if (before != null && after != null && before.value(end).equals(after.value(end))) {
        continue;
      }
      FieldDef view = Relations.viewOf(end).orElseThrow();
      for (String target : targets(before, end)) {
        String key = viewKey(view, target);
        PersistentMap<Long, String> refs = v.get(key);
        if (refs != null) {
          PersistentMap<Long, String> rest = refs.without(any.seq());
          v = rest.isEmpty() ? v.without(key) : v.with(key, rest);
        }
      }
      for (String target : targets(after, end)) {
        String key = viewKey(view, target);
        PersistentMap<Long, String> refs = v.get(key);
        v =
            v.with(
                key,
                (refs == null ? PersistentMap.<Long, String>empty() : refs)
                    .with(any.seq(), any.ref()));
      }
    }
    return v;
  }

  private static String viewKey(FieldDef view, String ref) {
    return ref + ' ' + view.className() + ' ' + view.index();
  }
}
