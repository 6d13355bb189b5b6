package io.xenferry.copy;

import io.xenferry.block.ByteRate;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;

/**
 * A limit that several disks share, transfer by transfer in turn. Without that whoever asks at the
 * right moment, which is the same one time after time, would have all of it. Thread-safe; never
 * blocks.
 */
final class SharedRate {
  /** Whoever does not come back for its turn loses it: its job may have ended without a word. */
  private static final long PATIENCE = 1_000_000_000L;

  private final ByteRate rate;
  private final Deque<Turn> waiting = new ArrayDeque<>();

  SharedRate(ByteRate rate) {
    this.rate = rate;
  }

  /** All disks together; 0 for no limit. */
  long bytesPerSecond() {
    return rate.bytesPerSecond();
  }

  /**
   * A disk's place among the others.
   *
   * @param whenNext called on any thread when it comes to be the first of those who wait
   */
  Turn turn(Runnable whenNext) {
    return new Turn(whenNext);
  }

  /** One disk. */
  final class Turn {
    private final Runnable whenNext;
    private long asked;

    private Turn(Runnable whenNext) {
      this.whenNext = whenNext;
    }

    /**
     * Whether its next transfer may go.
     *
     * @param now of a monotonic clock, the same for all
     * @return nanoseconds after which to ask again, or earlier when it is told to; 0 for now
     */
    long delay(long now) {
      synchronized (SharedRate.this) {
        asked = now;
        if (rate.bytesPerSecond() == 0) {
          waiting.remove(this);
          return 0;
        }
        forget(now);
        long wait = rate.delay(now);
        if (!waiting.contains(this)) {
          if (wait == 0 && waiting.isEmpty()) {
            return 0;
          }
          waiting.addLast(this);
        }
        return waiting.peekFirst() == this ? wait : Math.max(wait, PATIENCE);
      }
    }

    /** A transfer of so many bytes goes; the next one is whoever waits. */
    void take(long bytes) {
      rate.take(bytes);
      leave();
    }

    /** It was fewer bytes than were taken, or more. */
    void correct(long bytes) {
      rate.take(bytes);
    }

    /** It has nothing to send now. */
    void leave() {
      Turn next = null;
      synchronized (SharedRate.this) {
        if (waiting.peekFirst() == this) {
          waiting.removeFirst();
          next = waiting.peekFirst();
        } else {
          waiting.remove(this);
        }
      }
      if (next != null) {
        next.whenNext.run();
      }
    }
  }

  private void forget(long now) {
    Iterator<Turn> turns = waiting.iterator();
    while (turns.hasNext() && now - turns.next().asked > 2 * PATIENCE) {
      turns.remove();
    }
  }
}
