package io.xenferry.server.migration;

import io.xenferry.migration.state.Places;
import io.xenferry.model.Pool;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * How many moves may be under way at once, as the pool's and the SRs' {@code other_config} say. A
 * value that is no number counts as none.
 */
final class MovePlaces {
  /** Of the pool: moves that a host sends. */
  static final String OUT = "xenferry:moves-out";

  /** Of the pool: moves that arrive at a host. */
  static final String IN = "xenferry:moves-in";

  /** Of an SR: moves from it, and as many to it. */
  static final String SR_MOVES = "xenferry:moves";

  /** What the published server bears of storage migrations at once. */
  static final int DEFAULT = 3;

  private MovePlaces() {}

  /**
   * @param direction {@link #OUT} or {@link #IN}
   * @param srs by their references
   */
  static Places of(ObjectDatabase database, String direction, Set<String> srs) {
    Snapshot db = database.snapshot();
    int host = DEFAULT;
    Map<String, Integer> each = new HashMap<>();
    try {
      for (Row pool : db.rows("pool")) {
        host = number(db.get(new Ref<Pool>(pool.ref()), Pool.OTHER_CONFIG).get(direction));
      }
      for (String sr : srs) {
        if (db.row("SR", sr).isPresent()) {
          each.put(sr, number(db.get(new Ref<SR>(sr), SR.OTHER_CONFIG).get(SR_MOVES)));
        }
      }
    } catch (XenApiException e) {
      throw new IllegalStateException("a row that is there has no other_config", e);
    }
    return new Places(host, each);
  }

  private static int number(@Nullable String text) {
    return text != null && text.matches("[0-9]{1,6}") ? Integer.parseInt(text) : DEFAULT;
  }
}
