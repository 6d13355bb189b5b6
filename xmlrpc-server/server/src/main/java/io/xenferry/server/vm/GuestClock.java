package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.spi.Guest;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps where guests have put their machines' clocks in {@code platform:timeoffset}, in seconds
 * ahead of the host's UTC, so that they find them there when they next start.
 */
public final class GuestClock {
  private static final Logger log = LoggerFactory.getLogger(GuestClock.class);

  private static final String KEY = "timeoffset";

  /** Some thirty years either way. */
  private static final String SECONDS = "[+-]?\\d{1,9}";

  private static final Duration MOST = Duration.ofSeconds(999_999_999);

  /** A guest that only follows its host's clock is not worth an event. */
  private static final Duration MUCH = Duration.ofSeconds(2);

  /** A guest may set its clock once a second, and each record of that is an event for clients. */
  private static final Duration BETWEEN = Duration.ofSeconds(10);

  private final ObjectDatabase database;
  private final Duration between;

  /** By VM what is to be recorded, or has just been, while somebody sees to that. */
  private final ConcurrentMap<UUID, Duration> latest = new ConcurrentHashMap<>();

  public GuestClock(ObjectDatabase database) {
    this(database, BETWEEN);
  }

  /**
   * @param between records of one VM's
   */
  GuestClock(ObjectDatabase database, Duration between) {
    this.database = database;
    this.between = between;
  }

  /**
   * Where the clock of a VM is to begin.
   *
   * @throws XenApiException INVALID_VALUE for what is no number of seconds
   */
  static Duration of(Snapshot db, Ref<VM> vm) throws XenApiException {
    return of(db.get(vm, VM.PLATFORM));
  }

  /** The same by the VM's platform map. */
  static Duration of(Map<String, String> platform) throws XenApiException {
    String seconds = platform.getOrDefault(KEY, "");
    if (!seconds.isEmpty() && !seconds.matches(SECONDS)) {
      throw new XenApiException("INVALID_VALUE", "platform:" + KEY, seconds);
    }
    return seconds.isEmpty() ? Duration.ZERO : Duration.ofSeconds(Long.parseLong(seconds));
  }

  /** Listens to a guest for as long as it is there. */
  public void follow(Guest guest) {
    guest.onClock(ahead -> tell(guest.vm(), ahead));
  }

  void tell(UUID vm, Duration ahead) {
    if (ahead.abs().compareTo(MOST) > 0) {
      log.info("the clock of VM {} is {} ahead of the host's: not kept", vm, ahead);
    } else if (latest.put(vm, ahead) == null) {
      Thread.ofVirtual().name("clock of " + vm).start(() -> keep(vm, ahead));
    }
  }

  /** One after the other, in their order; of many only the last. */
  private void keep(UUID vm, Duration first) {
    Duration now = first;
    do {
      now = latest.getOrDefault(vm, now);
      try {
        Duration ahead = now;
        database.change(tx -> record(tx, vm, ahead));
        Thread.sleep(between);
      } catch (XenApiException | RuntimeException e) {
        log.warn("where VM {} has put its clock is not kept", vm, e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    } while (!latest.remove(vm, now));
  }

  private static void record(Transaction tx, UUID uuid, Duration ahead) throws XenApiException {
    Optional<Row> row = tx.byUuid("VM", uuid.toString());
    if (row.isEmpty()) {
      return;
    }
    Ref<VM> vm = new Ref<>(row.get().ref());
    if (isNew(tx, vm, ahead)) {
      Map<String, String> platform = new LinkedHashMap<>(tx.get(vm, VM.PLATFORM));
      platform.put(KEY, Long.toString(ahead.toSeconds()));
      tx.set(vm, VM.PLATFORM, platform);
    }
  }

  private static boolean isNew(Snapshot db, Ref<VM> vm, Duration ahead) {
    try {
      return of(db, vm).minus(ahead).abs().compareTo(MUCH) >= 0;
    } catch (XenApiException e) {
      return true; // whatever it says, it is no clock
    }
  }
}
