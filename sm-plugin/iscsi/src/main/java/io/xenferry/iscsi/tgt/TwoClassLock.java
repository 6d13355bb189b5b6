package io.xenferry.iscsi.tgt;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A lock for urgent work and for work that can wait: whoever waits with {@link #lock()} goes on
 * only when nobody waits with {@link #lockUrgently()}. Reentrant; a stream of urgent work without
 * end would hold the other up for ever.
 */
final class TwoClassLock {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition urgentDone = lock.newCondition();

  /** Threads that wait in {@link #lockUrgently()}. */
  private final AtomicInteger urgent = new AtomicInteger();

  /** Ahead of everybody in {@link #lock()}. */
  void lockUrgently() {
    urgent.incrementAndGet();
    lock.lock();
    urgent.decrementAndGet();
  }

  /** When nobody waits for it urgently. */
  void lock() {
    lock.lock();
    while (urgent.get() > 0 && lock.getHoldCount() == 1) {
      urgentDone.awaitUninterruptibly();
    }
  }

  /** As {@link #lock()}. */
  void lockInterruptibly() throws InterruptedException {
    lock.lockInterruptibly();
    try {
      while (urgent.get() > 0 && lock.getHoldCount() == 1) {
        urgentDone.await();
      }
    } catch (InterruptedException e) {
      lock.unlock();
      throw e;
    }
  }

  void unlock() {
    if (lock.getHoldCount() == 1) {
      urgentDone.signalAll();
    }
    lock.unlock();
  }
}
