package io.xenferry.sr;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Who uses one VDI on this host: its datapaths and the copies under way. Guarded by {@link #lock},
 * held while the back end is told, so that what is written here is what the back end has.
 */
final class VdiUse {
  final ReentrantLock lock = new ReentrantLock();
  private final Condition copiesChanged = lock.newCondition();

  /** Datapaths that are attached at least. */
  final Map<String, DatapathState> datapaths = new TreeMap<>();

  /** The domain of each datapath. */
  final Map<String, String> domains = new TreeMap<>();

  /** No longer the entry of its VDI. */
  boolean retired;

  private int copies;

  /** This server writes it. */
  private boolean filled;

  DatapathState superstate() {
    return datapaths.values().stream().reduce(DatapathState.DETACHED, DatapathState::and);
  }

  DatapathState superstateWithout(String dp) {
    return datapaths.entrySet().stream()
        .filter(e -> !e.getKey().equals(dp))
        .map(Map.Entry::getValue)
        .reduce(DatapathState.DETACHED, DatapathState::and);
  }

  DatapathState of(String dp) {
    return datapaths.getOrDefault(dp, DatapathState.DETACHED);
  }

  void set(String dp, String domain, DatapathState state) {
    if (state == DatapathState.DETACHED) {
      datapaths.remove(dp);
      domains.remove(dp);
    } else {
      datapaths.put(dp, state);
      domains.put(dp, domain);
    }
  }

  /** Whether a domain, or this server, may write it; attached for writing alone does not count. */
  boolean isWritten() {
    return filled || datapaths.containsValue(DatapathState.ACTIVATED_RW);
  }

  boolean isWrittenWithout(String dp) {
    return datapaths.entrySet().stream()
        .anyMatch(e -> !e.getKey().equals(dp) && e.getValue() == DatapathState.ACTIVATED_RW);
  }

  boolean isCopied() {
    return copies > 0;
  }

  boolean isIdle() {
    return datapaths.isEmpty() && copies == 0 && !filled;
  }

  boolean isFilled() {
    return filled;
  }

  void setFilled(boolean now) {
    filled = now;
  }

  void beginCopy() {
    copies++;
  }

  void endCopy() {
    copies--;
    copiesChanged.signalAll();
  }

  /**
   * Waits, with the lock given up meanwhile, until no copy is under way; false when out of time.
   */
  boolean awaitCopies(long timeoutMillis) throws InterruptedException {
    long nanos = TimeUnit.MILLISECONDS.toNanos(timeoutMillis);
    while (copies > 0) {
      if (nanos <= 0) {
        return false;
      }
      nanos = copiesChanged.awaitNanos(nanos);
    }
    return true;
  }
}
