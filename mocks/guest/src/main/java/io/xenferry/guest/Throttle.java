package io.xenferry.guest;

import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A limit on bytes, or on whatever else, per second; a burst of a tenth of a second is allowed.
 * Thread-safe.
 */
final class Throttle {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private long rate;
  private long freeAt = System.nanoTime();

  /**
   * @param rate bytes per second; 0 for no limit
   */
  Throttle(long rate) {
    this.rate = rate;
  }

  void limit(long bytesPerSecond) {
    lock.lock();
    try {
      if (rate == bytesPerSecond) {
        return;
      }
      rate = Math.max(0, bytesPerSecond);
      freeAt = System.nanoTime();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  long limit() {
    lock.lock();
    try {
      return rate;
    } finally {
      lock.unlock();
    }
  }

  /** Waits until so many bytes may pass. */
  void pass(long bytes) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      while (rate > 0) {
        long early = freeAt - System.nanoTime();
        if (early <= 0) {
          break;
        }
        changed.awaitNanos(early);
      }
      if (rate > 0) {
        long now = System.nanoTime();
        freeAt = Math.max(freeAt, now - 100_000_000) + (long) (bytes * 1e9 / rate);
      }
    } finally {
      lock.unlock();
    }
  }
}
