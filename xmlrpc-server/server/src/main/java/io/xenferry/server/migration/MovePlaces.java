package io.xenferry.server.migration;

import io.xenferry.migration.state.Places;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Pool;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How many moves may be under way at once, as the pool's and the SRs' {@code other_config} say. A
 * value that is no number counts as none, and is told once.
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

  private static final Logger log = LoggerFactory.getLogger(MovePlaces.class);

  /** Characters of a value that the log repeats. */
  private static final int SHOWN = 40;

  /** Values that make no sense and have been told; queues look every second. */
  private static final Set<String> TOLD = ConcurrentHashMap.newKeySet();

  private static final int MOST_TOLD = 100;

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
        host =
            number(direction, db.get(new Ref<Pool>(pool.ref()), Pool.OTHER_CONFIG).get(direction));
      }
      for (String sr : srs) {
        if (db.row("SR", sr).isPresent()) {
          each.put(sr, number(SR_MOVES, db.get(new Ref<SR>(sr), SR.OTHER_CONFIG).get(SR_MOVES)));
        }
      }
    } catch (XenApiException e) {
      throw new IllegalStateException("a row that is there has no other_config", e);
    }
    return new Places(host, each);
  }

  /** The SRs that the disks of a move from here are on, by their references. */
  static Set<String> from(Snapshot db, Plan plan) {
    Set<String> srs = new HashSet<>();
    for (Plan.Disk disk : plan.disks()) {
      Optional<Row> vdi = db.byUuid("VDI", disk.vdi().toString());
      if (vdi.isPresent()) {
        srs.add(sr(db, vdi.get()));
      }
    }
    return srs;
  }

  private static String sr(Snapshot db, Row vdi) {
    try {
      return db.get(new Ref<VDI>(vdi.ref()), VDI.SR).opaque();
    } catch (XenApiException e) {
      throw new IllegalStateException("a row that is there has no SR", e);
    }
  }

  private static int number(String key, @Nullable String text) {
    if (text == null) {
      return DEFAULT;
    }
    if (text.matches("[0-9]{1,6}")) {
      return Integer.parseInt(text);
    }
    String what = key + "=" + text.substring(0, Math.min(text.length(), SHOWN));
    if (TOLD.size() < MOST_TOLD && TOLD.add(what)) {
      log.warn("{} in other_config is no number from 0 to 999999: it counts as {}", what, DEFAULT);
    }
    return DEFAULT;
  }
}
