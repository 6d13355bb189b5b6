package io.xenferry.model.db;

import io.xenferry.model.DataModel;
import io.xenferry.model.Field;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.AbstractCollection;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Reads a state. */
class StateSnapshot implements Snapshot {
  private final State fixed;

  StateSnapshot(State state) {
    this.fixed = state;
  }

  /** The state to read; a transaction's moves on. */
  State state() {
    return fixed;
  }

  @Override
  public long generation() {
    return state().generation();
  }

  @Override
  public Optional<Row> row(String className, String ref) {
    State s = state();
    return Optional.ofNullable(s.row(className, ref)).map(r -> new StateRow(s, r));
  }

  @Override
  public Collection<Row> rows(String className) {
    State s = state();
    PersistentMap<Long, StoredRow> rows = s.table(className).rows();
    return new AbstractCollection<>() {
      @Override
      public Iterator<Row> iterator() {
        Iterator<StoredRow> i = rows.values().iterator();
        return new Iterator<>() {
          @Override
          public boolean hasNext() {
            return i.hasNext();
          }

          @Override
          public Row next() {
            return new StateRow(s, i.next());
          }
        };
      }

      @Override
      public int size() {
        return rows.size();
      }
    };
  }

  @Override
  public Optional<Row> byUuid(String className, String uuid) {
    return Optional.ofNullable(state().table(className).uuids().get(uuid))
        .flatMap(ref -> row(className, ref));
  }

  @Override
  public <T, V> V get(Ref<T> ref, Field<T, V> field) throws XenApiException {
    return require(field.def().className(), ref.opaque()).get(field);
  }

  @Override
  public List<Change> changesSince(long generation) {
    State s = state();
    long since = generation > s.generation() ? 0 : generation;
    ChangeKey after = new ChangeKey(since, Long.MAX_VALUE);
    List<Change> out = new ArrayList<>();
    s.changes()
        .valuesAfter(after)
        .forEachRemaining(r ->
            out.add(
                new Change(
                    r.created() > since ? Change.Kind.ADD : Change.Kind.MOD,
                    r.classDef().name(),
                    r.ref(),
                    r.modified())));
    int live = out.size();
    s.deletions()
        .valuesAfter(after)
        .forEachRemaining(d -> {
          if (d.created() <= since) {
            out.add(new Change(Change.Kind.DEL, d.className(), d.ref(), d.deleted()));
          }
        });
    if (out.size() > live) {
      out.sort(Comparator.comparingLong(Change::generation));
    }
    return List.copyOf(out);
  }

  @Override
  public Map<String, Integer> counts() {
    State s = state();
    Map<String, Integer> out = new TreeMap<>();
    DataModel.databaseClassNames()
        .forEach(t -> out.put(t.toLowerCase(Locale.ROOT), s.table(t).rows().size()));
    return out;
  }

  /** A row and the state that its views follow from. */
  private record StateRow(State state, StoredRow row) implements Row {
    @Override
    public String className() {
      return row.classDef().name();
    }

    @Override
    public String ref() {
      return row.ref();
    }

    @Override
    public long created() {
      return row.created();
    }

    @Override
    public long modified() {
      return row.modified();
    }

    @Override
    public Value get(FieldDef field) {
      if (!field.className().equals(className())) {
        throw new IllegalArgumentException(field + " is no field of " + className());
      }
      return field.view().isPresent() ? state.view(field, ref()) : row.value(field);
    }
  }
}
