package io.xenferry.guest;

import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * What the guest's work passes: open while the guest runs. Closing it waits for the work under way,
 * so that afterwards nothing moves.
 */
final class RunGate {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private boolean open;
  private boolean held;
  private int inside;

  /** Waits until the guest runs. */
  void enter() throws InterruptedException {
    lock.lockInterruptibly();
    try {
      while (!open || held) {
        changed.await();
      }
      inside++;
    } finally {
      lock.unlock();
    }
  }

  void leave() {
    lock.lock();
    try {
      inside--;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  void open() {
    lock.lock();
    try {
      open = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Returns when nobody is inside. */
  void close() {
    lock.lock();
    try {
      open = false;
      while (inside > 0) {
        changed.awaitUninterruptibly();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Runs something while nobody is inside. */
  void quiesced(Runnable action) {
    lock.lock();
    try {
      held = true;
      while (inside > 0) {
        changed.awaitUninterruptibly();
      }
      action.run();
    } finally {
      held = false;
      changed.signalAll();
      lock.unlock();
    }
  }
}
