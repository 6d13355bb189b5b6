package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VdiInfo;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The disks of moves that came to nothing and were told to leave what they had brought. The next
 * move of the same lineage does not copy such a disk: it takes it up, under its own uuid, and
 * compares all of it. What nobody has taken up goes when it is due, unless somebody uses it: who
 * gives it to a VM, or takes {@link #UNTIL_KEY} from its other_config, keeps it.
 */
final class Attempts {
  private static final Logger log = LoggerFactory.getLogger(Attempts.class);

  /** In sm_config: the migration that has left it. */
  private static final String ATTEMPT = "xenferry-attempt-of";

  /** In other_config: the instant at which the disk goes. */
  private static final String UNTIL_KEY = "xenferry:keep-until";

  private static final String LABEL = "Left by a move that came to nothing";

  private final ObjectDatabase database;
  private final HostStorage storage;

  Attempts(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
  }

  /** Lets a disk of a migration stay that has a lineage; see {@link MigrationDisks#keepAttempt}. */
  void keep(HostStorage.Place place, String tag, Instant until) throws XenApiException {
    Map<String, String> now = database.snapshot().get(place.ref(), VDI.SM_CONFIG);
    if (!tag.equals(now.get(VdiInfo.SM_CONFIG_MIGRATION))
        || !now.containsKey(VdiInfo.SM_CONFIG_LINEAGE)) {
      return;
    }
    Map<String, String> kept = new LinkedHashMap<>(now);
    kept.remove(VdiInfo.SM_CONFIG_MIGRATION);
    kept.remove(VdiInfo.SM_CONFIG_BASE);
    kept.put(ATTEMPT, tag);
    String time = until.truncatedTo(ChronoUnit.SECONDS).toString();
    String description = "What it has brought is taken up by the next move of the disk.";
    update(
        place,
        info -> info.edit().nameLabel(LABEL).nameDescription(description).smConfig(kept).done());
    database.change(tx -> {
      tx.set(place.ref(), VDI.SM_CONFIG, kept);
      tx.set(place.ref(), VDI.OTHER_CONFIG, dated(tx.get(place.ref(), VDI.OTHER_CONFIG), time));
      tx.set(place.ref(), VDI.NAME_LABEL, LABEL);
      tx.set(place.ref(), VDI.NAME_DESCRIPTION, description);
    });
    log.info("{} is kept until {} for the next move of the disk", place.location(), time);
  }

  private static Map<String, String> dated(Map<String, String> otherConfig, String until) {
    Map<String, String> dated = new LinkedHashMap<>(otherConfig);
    dated.put(UNTIL_KEY, until);
    return dated;
  }

  /**
   * Makes one of these disks that of a migration.
   *
   * @param alike among which there may be some
   * @param wanted with the uuid and sm_config that it gets
   * @return false when there is none that nobody uses
   */
  boolean takeUp(List<VdiInfo> alike, VdiInfo wanted) throws XenApiException {
    for (VdiInfo each : alike) {
      Optional<HostStorage.Place> place =
          each.uuid().isPresent()
              ? storage.find(UUID.fromString(each.uuid().get()))
              : Optional.empty();
      // The record first: a server that dies in between has one with a tag, by which it is undone.
      if (place.isPresent() && database.write(tx -> claim(tx, place.get().ref(), wanted))) {
        log.info("{} goes on as {}", each.uuid().get(), wanted.uuid().orElseThrow());
        settle(place.get(), wanted);
        return true;
      }
    }
    return false;
  }

  private static boolean claim(Transaction tx, Ref<VDI> vdi, VdiInfo wanted)
      throws XenApiException {
    if (tx.row("VDI", vdi.opaque()).isEmpty() || !isIdle(tx, vdi)) {
      return false;
    }
    tx.set(vdi, VDI.SM_CONFIG, claimed(tx.get(vdi, VDI.SM_CONFIG), tx.get(vdi, VDI.UUID), wanted));
    tx.set(vdi, VDI.UUID, wanted.uuid().orElseThrow());
    return true;
  }

  private static Map<String, String> claimed(
      Map<String, String> smConfig, String formerly, VdiInfo wanted) {
    Map<String, String> claimed = new LinkedHashMap<>(smConfig);
    claimed.remove(ATTEMPT);
    claimed.put(VdiInfo.SM_CONFIG_BASE, formerly);
    claimed.putAll(wanted.smConfig());
    return claimed;
  }

  /**
   * Lets the SR's own record say what that of the database does, where it does not yet, for a
   * server that has died in between too.
   */
  void settle(HostStorage.Place place, VdiInfo wanted) throws XenApiException {
    VdiInfo there =
        HostStorage.driver(() -> storage.mux().repository(place.sr()).stat(place.location()));
    String formerly = there.uuid().orElse(there.vdi());
    if (formerly.equals(wanted.uuid().orElseThrow())) {
      return;
    }
    // Of the SR's record: a scan may have brought the database's back to what that says.
    Map<String, String> config = claimed(there.smConfig(), formerly, wanted);
    update(
        place,
        info ->
            info.edit()
                .uuid(wanted.uuid().orElseThrow())
                .nameLabel("")
                .nameDescription("")
                .smConfig(config)
                .done());
    database.change(tx -> {
      Map<String, String> other = new LinkedHashMap<>(tx.get(place.ref(), VDI.OTHER_CONFIG));
      other.remove(UNTIL_KEY);
      tx.set(place.ref(), VDI.SM_CONFIG, config);
      tx.set(place.ref(), VDI.OTHER_CONFIG, other);
      tx.set(place.ref(), VDI.NAME_LABEL, "");
      tx.set(place.ref(), VDI.NAME_DESCRIPTION, "");
    });
  }

  private void update(HostStorage.Place place, StorageRepository.Change change)
      throws XenApiException {
    HostStorage.drive(() -> storage.mux().repository(place.sr()).update(place.location(), change));
  }

  /** See {@link MigrationDisks#sweepAttempts}. */
  void sweep(Instant now) {
    for (Row row : List.copyOf(database.snapshot().rows("VDI"))) {
      Ref<VDI> vdi = new Ref<>(row.ref());
      try {
        if (isOver(database.snapshot(), vdi, now)) {
          log.info("destroying {}: it was to be kept until now", vdi);
          storage.destroyVdi(vdi);
        }
      } catch (XenApiException e) {
        log.warn("what a move has left, {}, cannot be destroyed yet", vdi, e);
      }
    }
  }

  /** Whether it is one that was left, and nobody uses. */
  private static boolean isIdle(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    Map<String, String> config = db.get(vdi, VDI.SM_CONFIG);
    return config.containsKey(ATTEMPT)
        && !config.containsKey(VdiInfo.SM_CONFIG_MIGRATION)
        && db.get(vdi, VDI.VBDS).isEmpty();
  }

  /** A clone or a snapshot of one that was left is none, whatever its other_config says. */
  private static boolean isOver(Snapshot db, Ref<VDI> vdi, Instant now) throws XenApiException {
    if (db.row("VDI", vdi.opaque()).isEmpty() || !isIdle(db, vdi)) {
      return false;
    }
    String until = db.get(vdi, VDI.OTHER_CONFIG).getOrDefault(UNTIL_KEY, "");
    try {
      return !until.isEmpty() && !Instant.parse(until).isAfter(now);
    } catch (DateTimeException e) {
      log.warn("VDI {} is kept: {} says {}", db.get(vdi, VDI.UUID), UNTIL_KEY, until);
      return false;
    }
  }
}
