package io.xenferry.server.vm;

import io.xenferry.model.Host;
import io.xenferry.model.HostMetrics;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;

/**
 * What of this host's memory is promised to VMs: {@code memory_static_max} of each, whatever its
 * balloon has taken, since it may have that back at any time. Thread-safe.
 */
public final class HostMemory {
  private final ObjectDatabase database;
  private final Ref<Host> host;
  private final ReentrantLock lock = new ReentrantLock();

  /** VMs that are being started, whose records do not yet say that they run; under the lock. */
  private final Set<Ref<VM>> starting = new HashSet<>();

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
   * Promises a VM its memory, so that two that begin at once cannot both have it.
   *
   * @throws XenApiException HOST_NOT_ENOUGH_FREE_MEMORY
   */
  Promise promise(Ref<VM> vm) throws XenApiException {
    lock.lock();
    try {
      Snapshot db = database.snapshot();
      Set<Ref<VM>> others = new HashSet<>(starting);
      others.remove(vm);
      check(db, host, db.get(vm, VM.MEMORY_STATIC_MAX), others);
      starting.add(vm);
    } finally {
      lock.unlock();
    }
    return () -> {
      lock.lock();
      try {
        starting.remove(vm);
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
      check(database.snapshot(), host, bytes, starting);
    } finally {
      lock.unlock();
    }
  }

  private static void check(Snapshot db, Ref<Host> host, long bytes, Set<Ref<VM>> starting)
      throws XenApiException {
    long total = total(db, host);
    long free = total - promised(db, starting);
    // A host whose memory is not known refuses none.
    if (total > 0 && bytes > free) {
      throw new XenApiException(
          "HOST_NOT_ENOUGH_FREE_MEMORY", Long.toString(bytes), Long.toString(Math.max(0, free)));
    }
  }

  /**
   * Bytes that no VM has been promised.
   *
   * @throws XenApiException HANDLE_INVALID
   */
  public static long free(Snapshot db, Ref<Host> host) throws XenApiException {
    return Math.max(0, total(db, host) - promised(db, Set.of()));
  }

  private static long total(Snapshot db, Ref<Host> host) throws XenApiException {
    Ref<HostMetrics> metrics = db.get(host, Host.METRICS);
    return metrics.isNull() ? 0 : db.get(metrics, HostMetrics.MEMORY_TOTAL);
  }

  /** What is promised to VMs that run, or are just arriving, is no longer free. */
  private static long promised(Snapshot db, Set<Ref<VM>> starting) throws XenApiException {
    long bytes = 0;
    for (Row row : db.rows("VM")) {
      Ref<VM> vm = new Ref<>(row.ref());
      VmPowerState state = db.get(vm, VM.POWER_STATE);
      if (state == VmPowerState.RUNNING
          || state == VmPowerState.PAUSED
          || starting.contains(vm)
          || db.get(vm, VM.OTHER_CONFIG).containsKey(VmRecords.MIGRATION_KEY)) {
        bytes += db.get(vm, VM.MEMORY_STATIC_MAX);
      }
    }
    return bytes;
  }
}
