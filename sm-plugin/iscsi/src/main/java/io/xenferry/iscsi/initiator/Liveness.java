package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.net.PduChannel;
import io.xenferry.iscsi.pdu.Pdu;

/**
 * Whether the target is still there: after a silence it is asked with a ping, and has as long again
 * to answer. What is looked at in each tick of a session. Confined to its loop.
 */
final class Liveness {
  /** A tick that comes later than this means that we were stopped, or starved of the processor. */
  private static final int LATE_TICKS = 3;

  private static final int SHORTEST_TICK_MILLIS = 5;
  private static final int LONGEST_TICK_MILLIS = 250;

  /** What is to be done. */
  enum Verdict {
    FINE,
    /** A ping with {@link #pingTag} is due. */
    PING,
    DEAD
  }

  private final PduChannel channel;
  private final long silence;
  private final long tickMillis;
  private int pingTag = Pdu.NO_TAG;
  private long pingSince;
  private long lastTick = System.nanoTime();
  private boolean excused;

  Liveness(PduChannel channel, IscsiOptions options) {
    this.channel = channel;
    this.silence = options.keepAlive().toNanos();
    long shortest = Math.min(options.commandTimeout().toMillis(), options.keepAlive().toMillis());
    this.tickMillis = Math.clamp(shortest / 8, SHORTEST_TICK_MILLIS, LONGEST_TICK_MILLIS);
  }

  /** How often deadlines are looked at: often enough for the shortest. */
  long tickMillis() {
    return tickMillis;
  }

  /**
   * Notes a tick; true when we have not run ourselves for a while, so that what has arrived
   * meanwhile must be read before a deadline counts. Never twice in a row: deadlines must pass some
   * time.
   */
  boolean heldUp(long now) {
    boolean late = !excused && now - lastTick > LATE_TICKS * tickMillis * 1_000_000L;
    excused = late;
    lastTick = now;
    return late;
  }

  /**
   * @param tags where a ping gets its tag
   */
  Verdict look(long now, OwnRequests tags) {
    if (channel.sendsWithin(silence)) {
      return Verdict.FINE;
    }
    if (pingTag != Pdu.NO_TAG) {
      boolean silent = now - Math.max(pingSince, channel.lastReceived()) > silence;
      return silent ? Verdict.DEAD : Verdict.FINE;
    }
    if (now - channel.lastReceived() <= silence) {
      return Verdict.FINE;
    }
    pingTag = tags.nextTag();
    pingSince = now;
    return Verdict.PING;
  }

  int pingTag() {
    return pingTag;
  }

  /** A NOP-In with a tag came. */
  void answered(int tag) {
    if (tag == pingTag) {
      pingTag = Pdu.NO_TAG;
    }
  }
}
