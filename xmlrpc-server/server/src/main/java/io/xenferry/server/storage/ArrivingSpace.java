package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.sr.VdiInfo;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The room in SRs that disks of moves have been promised. A disk that arrives takes up bytes only
 * as they are written, so what it may still take is no longer free, though the SR says so. Before
 * the disks are there a promise says how much that is; a server that is started anew knows it from
 * the disks alone. Thread-safe.
 */
final class ArrivingSpace {
  private static final Logger log = LoggerFactory.getLogger(ArrivingSpace.class);

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final ReentrantLock lock = new ReentrantLock();

  /** By SR and migration; under the lock, which is not held while an SR is asked. */
  private final Map<Ref<SR>, Map<String, Promise>> promises = new HashMap<>();

  /**
   * @param bytes that the migration's disks in the SR may take, as it was admitted with
   */
  private record Promise(long bytes, BooleanSupplier needed) {}

  /**
   * The disks of one migration in one SR.
   *
   * @param written bytes that they occupy
   * @param toCome bytes that they may still take
   */
  private record Disks(long written, long toCome) {
    static final Disks NONE = new Disks(0, 0);

    Disks and(Disks other) {
      return new Disks(written + other.written, toCome + other.toCome);
    }
  }

  /**
   * @param free bytes, as the SR says
   * @param arriving by migration
   */
  private record Room(long free, Map<String, Disks> arriving) {}

  ArrivingSpace(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
  }

  /**
   * Promises nothing.
   *
   * @throws XenApiException SR_NOT_ATTACHED, SR_DOES_NOT_SUPPORT_MIGRATION, SR_FULL
   */
  void check(Ref<SR> sr, long bytes) throws XenApiException {
    Room room = look(sr);
    lock.lock();
    try {
      require(sr, bytes, room, "");
    } finally {
      lock.unlock();
    }
  }

  /**
   * Promises bytes to a migration.
   *
   * @param needed whether its disks may still come
   * @throws XenApiException as {@link #check}
   */
  void promise(Ref<SR> sr, long bytes, String tag, BooleanSupplier needed) throws XenApiException {
    Room room = look(sr);
    lock.lock();
    try {
      require(sr, bytes, room, tag);
      promises.computeIfAbsent(sr, any -> new HashMap<>()).put(tag, new Promise(bytes, needed));
    } finally {
      lock.unlock();
    }
  }

  /** Under the lock. */
  private void require(Ref<SR> sr, long bytes, Room room, String tag) throws XenApiException {
    promises
        .values()
        .removeIf(ofSr -> {
          ofSr.values().removeIf(promise -> !promise.needed().getAsBoolean());
          return ofSr.isEmpty();
        });
    Map<String, Promise> promised = promises.getOrDefault(sr, Map.of());
    Set<String> others = new HashSet<>(promised.keySet());
    others.addAll(room.arriving().keySet());
    others.remove(tag);
    long free = room.free();
    for (String other : others) {
      Disks disks = room.arriving().getOrDefault(other, Disks.NONE);
      Promise promise = promised.get(other);
      free -= promise == null ? disks.toCome() : Math.max(0, promise.bytes() - disks.written());
    }
    if (bytes > free) {
      throw new XenApiException("SR_FULL", Long.toString(bytes), Long.toString(Math.max(0, free)));
    }
  }

  /** The disks before the SR: what is written in between is then taken off twice, not never. */
  private Room look(Ref<SR> sr) throws XenApiException {
    storage.requireAttached(sr);
    Snapshot db = database.snapshot();
    String uuid = db.get(sr, SR.UUID);
    if (HostStorage.driver(() -> storage.mux().repository(uuid).formats()).isEmpty()) {
      throw new XenApiException("SR_DOES_NOT_SUPPORT_MIGRATION", sr.opaque(), "VDI_MIRROR_IN");
    }
    Map<String, Disks> arriving = new HashMap<>();
    for (Ref<VDI> vdi : db.get(sr, SR.VDIS)) {
      String tag = db.get(vdi, VDI.SM_CONFIG).get(VdiInfo.SM_CONFIG_MIGRATION);
      if (tag != null) {
        arriving.merge(tag, disks(uuid, db.get(vdi, VDI.LOCATION)), Disks::and);
      }
    }
    long free = HostStorage.driver(() -> storage.mux().repository(uuid).stat()).freeSpace();
    return new Room(free, arriving);
  }

  private Disks disks(String sr, String location) {
    try {
      VdiInfo info = HostStorage.driver(() -> storage.mux().repository(sr).stat(location));
      // What rests on another has little of its own.
      boolean rests =
          !HostStorage.driver(() -> storage.mux().repository(sr).below(location)).isEmpty();
      long written = info.physicalUtilisation();
      return new Disks(written, rests ? 0 : Math.max(0, info.virtualSize() - written));
    } catch (XenApiException e) {
      log.debug("{} is gone", location, e);
      return Disks.NONE;
    }
  }
}
