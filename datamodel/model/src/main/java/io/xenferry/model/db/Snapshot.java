package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.ErrorCode;
import io.xenferry.model.Field;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** All objects as of one generation. Immutable, readable from any thread without locks. */
public interface Snapshot {
  long generation();

  Optional<Row> row(String className, String ref);

  /** Rows of a class in order of their making. */
  Collection<Row> rows(String className);

  Optional<Row> byUuid(String className, String uuid);

  /** The field of an object; HANDLE_INVALID when it is gone. */
  <T, V> V get(Ref<T> ref, Field<T, V> field) throws XenApiException;

  /**
   * What changed after the given generation, one entry an object, in order of generation. Deletions
   * are remembered for a bounded history; an older generation than that gives no deletions. A
   * generation that is yet to come, as after the database was restored, counts as 0.
   */
  List<Change> changesSince(long generation);

  /** The object; HANDLE_INVALID when it is gone. */
  default Row require(String className, String ref) throws XenApiException {
    return row(className, ref)
        .orElseThrow(() -> new XenApiException(ErrorCode.HANDLE_INVALID, className, ref));
  }

  /** The object with that uuid; UUID_INVALID when there is none. */
  default Row requireUuid(String className, String uuid) throws XenApiException {
    return byUuid(className, uuid)
        .orElseThrow(() -> new XenApiException(ErrorCode.UUID_INVALID, className, uuid));
  }

  /** References of all objects of a class in order of their making. */
  default <T> List<Ref<T>> refs(ClassDef classDef) {
    return rows(classDef.name()).stream().map(r -> Ref.<T>of(r.ref())).toList();
  }

  /** Objects of a class whose field has the value. */
  default <T, V> List<Ref<T>> where(Field<T, V> field, V value) {
    Value wanted = field.toValue().apply(value);
    return rows(field.def().className()).stream()
        .filter(r -> r.get(field.def()).equals(wanted))
        .map(r -> Ref.<T>of(r.ref()))
        .toList();
  }

  /** Live objects per class, lower-case names, for {@code valid_ref_counts}. */
  Map<String, Integer> counts();

  /** What happened to one object since a generation. */
  record Change(Kind kind, String className, String ref, long generation) {
    /** As {@code event.from} calls it. */
    public enum Kind {
      ADD,
      MOD,
      DEL
    }
  }
}
