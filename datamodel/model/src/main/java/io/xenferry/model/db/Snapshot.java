package io.xenferry.model.db;

import io.xenferry.model.Field;
import io.xenferry.model.Ref;
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
   * are remembered for a bounded history; an older generation than that gives no deletions.
   */
  List<Change> changesSince(long generation);

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
