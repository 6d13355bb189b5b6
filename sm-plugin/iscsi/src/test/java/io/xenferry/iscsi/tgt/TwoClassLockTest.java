package io.xenferry.iscsi.tgt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class TwoClassLockTest {
  private final TwoClassLock lock = new TwoClassLock();
  private final List<String> order = Collections.synchronizedList(new ArrayList<>());

  @Test
  void urgentWorkGoesAheadOfWhatWaitedBefore() throws Exception {
    lock.lock();
    List<Thread> waiting = new ArrayList<>();
    waiting.add(waiting("first", lock::lock));
    waiting.add(waiting("second", lock::lock));
    waiting.add(waiting("urgent", lock::lockUrgently));
    waiting.add(waiting("also urgent", lock::lockUrgently));
    lock.unlock();
    for (Thread thread : waiting) {
      thread.join();
    }

    assertThat(order.subList(0, 2)).containsExactlyInAnyOrder("urgent", "also urgent");
    assertThat(order.subList(2, 4)).containsExactlyInAnyOrder("first", "second");
  }

  @Test
  void whoHasItTakesItAgainWhateverWaits() throws Exception {
    lock.lock();
    Thread urgent = waiting("urgent", lock::lockUrgently);
    lock.lock();
    lock.unlock();
    assertThat(order).isEmpty();
    lock.unlock();
    urgent.join();
  }

  @Test
  void anInterruptedWaiterHasItNot() throws Exception {
    lock.lock();
    Thread waiter =
        Thread.ofPlatform()
            .start(() -> {
              try {
                lock.lockInterruptibly();
                order.add("locked");
              } catch (InterruptedException e) {
                order.add("interrupted");
              }
            });
    waiter.interrupt();
    waiter.join();
    lock.unlock();
    waiting("next", lock::lock).join();

    assertThat(order).containsExactly("interrupted", "next");
  }

  /** A thread that takes the lock, notes its name and gives the lock back; it waits already. */
  private Thread waiting(String name, Runnable take) {
    Thread thread =
        Thread.ofPlatform()
            .name(name)
            .start(() -> {
              take.run();
              try {
                order.add(name);
              } finally {
                lock.unlock();
              }
            });
    await().until(() -> thread.getState() == Thread.State.WAITING || !thread.isAlive());
    return thread;
  }
}
