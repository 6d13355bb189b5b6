package io.xenferry.server.vm;

import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.model.Host;
import io.xenferry.model.HostMetrics;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What of this host's memory is promised to VMs: {@code memory_static_max} of each, whatever its
 * balloon has taken, since it may have that back at any time. Thread-safe.
 */
public final class HostMemory {
  private static final Logger log = LoggerFactory.getLogger(HostMemory.class);

  private final ObjectDatabase database;
  private final Ref<Host> host;
  private final ReentrantLock lock = new ReentrantLock();

  /**
   * How often VMs were promised their memory that are being started, and whose records do not yet
   * say that they run; under the lock.
   */
  private final Map<Ref<VM>, Integer> starting = new HashMap<>();

  /** VMs that are to arrive, by their moves; under the lock. */
  private final Map<String, Arrival> arriving = new HashMap<>();

  /**
   * A VM that is to arrive. It counts until there is a record of it, which then does itself.
   *
   * @param coming whether it may still come
   */
  private record Arrival(UUID vm, long bytes, BooleanSupplier coming) {
    boolean counts(Snapshot db) {
      return db.byUuid("VM", vm.toString()).isEmpty();
    }

    /** Whether it is certain that it does not come; a ledger that cannot be read says nothing. */
    boolean isOff() {
      try {
        return !coming.getAsBoolean();
      } catch (LedgerException e) {
        log.warn("whether VM {} still arrives is not known: its memory stays promised", vm, e);
        return false;
      }
    }
  }

  /**
   * @param host this one
   */
  HostMemory(ObjectDatabase database, Ref<Host> host) {
    this.database = database;
    this.host = host;
  }

  /** Memory that is promised to a VM while it starts. */
  interface Promise extends AutoCloseable {
    /** From here on the VM counts only if its record says so. */
    @Override
    void close();
  }

  /**
   * Promises a VM its memory, so that two that begin at once cannot both have it. What it has
   * already, as one whose machine is made anew, is its own; promised twice, it is so until both
   * promises are closed.
   *
   * @throws XenApiException HOST_NOT_ENOUGH_FREE_MEMORY
   */
  Promise promise(Ref<VM> vm) throws XenApiException {
    lock.lock();
    try {
      Snapshot db = database.snapshot();
      Set<Ref<VM>> others = new HashSet<>(starting.keySet());
      others.remove(vm);
      check(db, db.get(vm, VM.MEMORY_STATIC_MAX), promised(db, others, arrivalsBut(""), vm));
      starting.merge(vm, 1, Integer::sum);
    } finally {
      lock.unlock();
    }
    return () -> {
      lock.lock();
      try {
        starting.computeIfPresent(vm, (any, times) -> times > 1 ? times - 1 : null);
      } finally {
        lock.unlock();
      }
    };
  }

  /**
   * Whether a VM that is about to arrive has room; promises nothing.
   *
   * @param bytes that it needs
   * @throws XenApiException HOST_NOT_ENOUGH_FREE_MEMORY
   */
  public void check(long bytes) throws XenApiException {
    lock.lock();
    try {
      Snapshot db = database.snapshot();
      check(db, bytes, promised(db, starting.keySet(), arrivalsBut(""), Ref.nullRef()));
    } finally {
      lock.unlock();
    }
  }

  /**
   * Promises a VM that is about to arrive its memory, so that neither another one nor one that
   * starts here can have it while what the move needs is being made. Promised again, it is the same
   * promise.
   *
   * @param move that brings it
   * @param vm its uuid here
   * @param bytes that it needs
   * @param coming whether it may still come; when not, nothing is promised any more
   * @throws XenApiException HOST_NOT_ENOUGH_FREE_MEMORY
   */
  public void promise(String move, UUID vm, long bytes, BooleanSupplier coming)
      throws XenApiException {
    lock.lock();
    try {
      Snapshot db = database.snapshot();
      check(db, bytes, promised(db, starting.keySet(), arrivalsBut(move), Ref.nullRef()));
      arriving.put(move, new Arrival(vm, bytes, coming));
    } finally {
      lock.unlock();
    }
  }

  /** Under the lock. */
  private List<Arrival> arrivalsBut(String move) {
    arriving.values().removeIf(Arrival::isOff);
    return arriving.entrySet().stream()
        .filter(entry -> !entry.getKey().equals(move))
        .map(Map.Entry::getValue)
        .toList();
  }

  private void check(Snapshot db, long bytes, long promised) throws XenApiException {
    long total = total(db, host);
    long free = total - promised;
    // A host whose memory is not known refuses none.
    if (total > 0 && bytes > free) {
      throw new XenApiException(
          "HOST_NOT_ENOUGH_FREE_MEMORY", Long.toString(bytes), Long.toString(Math.max(0, free)));
    }
  }

  /**
   * Bytes that no VM that has a record, and runs or is just arriving, has been promised.
   *
   * @throws XenApiException HANDLE_INVALID
   */
  public static long free(Snapshot db, Ref<Host> host) throws XenApiException {
    return Math.max(0, total(db, host) - promised(db, Set.of(), List.of(), Ref.nullRef()));
  }

  private static long total(Snapshot db, Ref<Host> host) throws XenApiException {
    Ref<HostMetrics> metrics = db.get(host, Host.METRICS);
    return metrics.isNull() ? 0 : db.get(metrics, HostMetrics.MEMORY_TOTAL);
  }

  /**
   * What is promised to VMs that run, or are just arriving, is no longer free.
   *
   * @param except a VM that does not count
   */
  private static long promised(
      Snapshot db, Set<Ref<VM>> starting, Collection<Arrival> arriving, Ref<VM> except)
      throws XenApiException {
    long bytes = 0;
    for (Arrival arrival : arriving) {
      bytes += arrival.counts(db) ? arrival.bytes() : 0;
    }
    for (Row row : db.rows("VM")) {
      Ref<VM> vm = new Ref<>(row.ref());
      if (vm.equals(except)) {
        continue;
      }
      VmPowerState state = db.get(vm, VM.POWER_STATE);
      if (state == VmPowerState.RUNNING
          || state == VmPowerState.PAUSED
          || starting.contains(vm)
          // The snapshots that come with a VM will not run.
          || (db.get(vm, VM.OTHER_CONFIG).containsKey(VmRecords.MIGRATION_KEY)
              && !db.get(vm, VM.IS_A_SNAPSHOT))) {
        bytes += db.get(vm, VM.MEMORY_STATIC_MAX);
      }
    }
    return bytes;
  }
}
