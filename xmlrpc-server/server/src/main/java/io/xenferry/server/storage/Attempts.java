package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.storage.MigrationDisks.Origin;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VdiInfo;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
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

  /** In sm_config: its own location, so that no copy of it is taken for one. */
  private static final String ATTEMPT = "xenferry-attempt";

  /** In other_config: the instant at which the disk goes. */
  private static final String UNTIL_KEY = "xenferry:keep-until";

  private static final String LABEL = "Left by a move that came to nothing";
  private static final String DESCRIPTION =
      "What it has brought is taken up by the next move of the disk.";

  /** What has brought less is not worth it; a qcow2 image has some of it from the start. */
  private static final long LEAST = 1 << 20;

  private final ObjectDatabase database;
  private final HostStorage storage;

  Attempts(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
  }

  // ---- a move has come to nothing

  /**
   * Lets a disk of a migration stay; see {@link MigrationDisks#keepAttempt}. The record first: if
   * the server dies in between, a scan brings back what the SR knows, and this is done once more.
   *
   * @return false when it is not worth it, or cannot be
   * @throws XenApiException when the SR does not note it; everything is as before, then and after
   *     false
   */
  boolean keep(HostStorage.Place place, String tag, Instant until) throws XenApiException {
    Snapshot db = database.snapshot();
    Map<String, String> before = db.get(place.ref(), VDI.SM_CONFIG);
    if (!tag.equals(before.get(VdiInfo.SM_CONFIG_MIGRATION))
        || !before.containsKey(VdiInfo.SM_CONFIG_LINEAGE)
        || stat(place).physicalUtilisation() < LEAST
        || free(place) < TaggedDisks.FULL) {
      return false;
    }
    Map<String, String> kept = new LinkedHashMap<>(before);
    kept.remove(VdiInfo.SM_CONFIG_MIGRATION);
    kept.remove(VdiInfo.SM_CONFIG_BASE);
    kept.put(ATTEMPT, place.location());
    String time = until.truncatedTo(ChronoUnit.SECONDS).toString();
    database.change(tx -> {
      Map<String, String> other = new LinkedHashMap<>(tx.get(place.ref(), VDI.OTHER_CONFIG));
      other.put(UNTIL_KEY, time);
      tx.set(place.ref(), VDI.SM_CONFIG, kept);
      tx.set(place.ref(), VDI.OTHER_CONFIG, other);
      tx.set(place.ref(), VDI.NAME_LABEL, LABEL);
      tx.set(place.ref(), VDI.NAME_DESCRIPTION, DESCRIPTION);
    });
    String uuid = db.get(place.ref(), VDI.UUID);
    try {
      update(
          place,
          info ->
              info.edit()
                  .uuid(uuid)
                  .nameLabel(LABEL)
                  .nameDescription(DESCRIPTION)
                  .smConfig(kept)
                  .done());
    } catch (XenApiException e) {
      String label = db.get(place.ref(), VDI.NAME_LABEL);
      String description = db.get(place.ref(), VDI.NAME_DESCRIPTION);
      database.change(tx -> {
        tx.set(place.ref(), VDI.SM_CONFIG, before);
        tx.set(place.ref(), VDI.OTHER_CONFIG, unmarked(tx, place.ref()));
        tx.set(place.ref(), VDI.NAME_LABEL, label);
        tx.set(place.ref(), VDI.NAME_DESCRIPTION, description);
      });
      throw e;
    }
    log.info("{} is kept until {} for the next move of the disk", place.location(), time);
    return true;
  }

  // ---- the next one

  /** Those of a lineage that nobody uses, as a disk of that size and format can go on with them. */
  private List<HostStorage.Place> left(
      Ref<SR> sr, long bytes, Optional<String> format, Origin origin) throws XenApiException {
    Snapshot db = database.snapshot();
    List<HostStorage.Place> left = new ArrayList<>();
    for (Ref<VDI> vdi : db.get(sr, SR.VDIS)) {
      Map<String, String> config = db.get(vdi, VDI.SM_CONFIG);
      if (isIdle(db, vdi)
          && db.get(vdi, VDI.VIRTUAL_SIZE) == bytes
          && origin.lineage().toString().equals(config.get(VdiInfo.SM_CONFIG_LINEAGE))
          && (format.isEmpty()
              || format.equals(Optional.ofNullable(config.get(VdiInfo.SM_CONFIG_FORMAT))))) {
        HostStorage.Place place =
            new HostStorage.Place(vdi, db.get(sr, SR.UUID), db.get(vdi, VDI.LOCATION));
        if (!HostStorage.driver(
            () -> storage.mux().isUsedBesides("", place.sr(), place.location()))) {
          left.add(place);
        }
      }
    }
    return left;
  }

  /** Bytes that need no room any more, since a disk like that goes on with what is there. */
  long there(Ref<SR> sr, long bytes, Optional<String> format, Origin origin)
      throws XenApiException {
    List<HostStorage.Place> left = left(sr, bytes, format, origin);
    return left.isEmpty() ? 0 : stat(left.getFirst()).physicalUtilisation();
  }

  /**
   * Makes such a disk that of a migration. The record first: a server that dies in between has one
   * with a tag, by which it is undone.
   *
   * @param wanted with the uuid and sm_config that it gets
   * @return false when there is none
   */
  boolean takeUp(Ref<SR> sr, VdiInfo wanted, Optional<String> format, Origin origin)
      throws XenApiException {
    for (HostStorage.Place place : left(sr, wanted.virtualSize(), format, origin)) {
      if (database.write(tx -> claim(tx, place, wanted))) {
        log.info("{} goes on as {}", place.location(), wanted.uuid().orElseThrow());
        settle(place, wanted);
        return true;
      }
    }
    return false;
  }

  private static boolean claim(Transaction tx, HostStorage.Place place, VdiInfo wanted)
      throws XenApiException {
    Ref<VDI> vdi = place.ref();
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
    VdiInfo there = stat(place);
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
      tx.set(place.ref(), VDI.SM_CONFIG, config);
      tx.set(place.ref(), VDI.OTHER_CONFIG, unmarked(tx, place.ref()));
      tx.set(place.ref(), VDI.NAME_LABEL, "");
      tx.set(place.ref(), VDI.NAME_DESCRIPTION, "");
    });
  }

  // ---- nobody goes on with it

  /** See {@link MigrationDisks#sweepAttempts}. */
  void sweep(Instant now) {
    for (Row row : List.copyOf(database.snapshot().rows("VDI"))) {
      Ref<VDI> vdi = new Ref<>(row.ref());
      try {
        Snapshot db = database.snapshot();
        if (db.row("VDI", vdi.opaque()).isPresent() && isMarked(db, vdi)) {
          if (!db.get(vdi, VDI.VBDS).isEmpty()) {
            // It is somebody's now, also when the VM lets go of it.
            database.change(tx -> tx.set(vdi, VDI.OTHER_CONFIG, unmarked(tx, vdi)));
          } else if (isOver(db, vdi, now)) {
            destroy(vdi, now);
          }
        }
      } catch (XenApiException e) {
        log.warn("what a move has left, {}, cannot be destroyed yet", vdi, e);
      }
    }
  }

  /** From the moment on that it has the tag of a migration nobody else gets it. */
  private void destroy(Ref<VDI> vdi, Instant now) throws XenApiException {
    String nobodys = UUID.randomUUID().toString();
    boolean over =
        database.write(tx -> {
          if (tx.row("VDI", vdi.opaque()).isEmpty() || !isOver(tx, vdi, now)) {
            return false;
          }
          Map<String, String> config = new LinkedHashMap<>(tx.get(vdi, VDI.SM_CONFIG));
          config.put(VdiInfo.SM_CONFIG_MIGRATION, nobodys);
          tx.set(vdi, VDI.SM_CONFIG, config);
          return true;
        });
    if (over) {
      log.info("destroying {}: it was to be kept until now", vdi);
      storage.destroyVdi(vdi);
    }
  }

  // ---- which they are

  private static boolean isMarked(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    Map<String, String> config = db.get(vdi, VDI.SM_CONFIG);
    return db.get(vdi, VDI.LOCATION).equals(config.get(ATTEMPT))
        && !config.containsKey(VdiInfo.SM_CONFIG_MIGRATION)
        && !db.get(vdi, VDI.IS_A_SNAPSHOT)
        && db.get(vdi, VDI.OTHER_CONFIG).containsKey(UNTIL_KEY);
  }

  /** Whether it is one that was left, is nobody's own, and that no VM has. */
  private static boolean isIdle(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    return isMarked(db, vdi) && db.get(vdi, VDI.VBDS).isEmpty();
  }

  private static boolean isOver(Snapshot db, Ref<VDI> vdi, Instant now) throws XenApiException {
    if (!isIdle(db, vdi)) {
      return false;
    }
    String until = db.get(vdi, VDI.OTHER_CONFIG).getOrDefault(UNTIL_KEY, "");
    try {
      return !Instant.parse(until).isAfter(now);
    } catch (DateTimeException e) {
      log.warn("VDI {} is kept: {} says {}", db.get(vdi, VDI.UUID), UNTIL_KEY, until);
      return false;
    }
  }

  private static Map<String, String> unmarked(Transaction tx, Ref<VDI> vdi) throws XenApiException {
    Map<String, String> other = new LinkedHashMap<>(tx.get(vdi, VDI.OTHER_CONFIG));
    other.remove(UNTIL_KEY);
    return other;
  }

  private long free(HostStorage.Place place) throws XenApiException {
    return HostStorage.driver(() -> storage.mux().repository(place.sr()).stat()).freeSpace();
  }

  private VdiInfo stat(HostStorage.Place place) throws XenApiException {
    return HostStorage.driver(() -> storage.mux().repository(place.sr()).stat(place.location()));
  }

  private void update(HostStorage.Place place, StorageRepository.Change change)
      throws XenApiException {
    HostStorage.drive(() -> storage.mux().repository(place.sr()).update(place.location(), change));
  }
}
