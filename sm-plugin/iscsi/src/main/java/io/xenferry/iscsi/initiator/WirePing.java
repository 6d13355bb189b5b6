package io.xenferry.iscsi.initiator;

import io.xenferry.block.LinkMeter;
import io.xenferry.block.LinkTimes;
import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.pdu.Pdu;
import org.jspecify.annotations.Nullable;

/**
 * Pings that follow a write now and then (NOP-Out, RFC 7143 section 11.18): the target answers them
 * when it has read the write's data, done or not. What that says of the way is a {@link
 * LinkMeter}'s. A target that does not answer is asked no more; whether it lives is {@link
 * Liveness}'s to find out. Confined to its loop, except {@link #times}.
 */
final class WirePing {
  private final EventLoop loop;
  private final LinkMeter meter = new LinkMeter(System.nanoTime());
  private LinkMeter.@Nullable Sample sample;
  private @Nullable Command command;
  private int tag = Pdu.NO_TAG;
  private long workedBefore;

  WirePing(EventLoop loop) {
    this.loop = loop;
  }

  /** Whether a ping should follow the write that is about to leave. */
  boolean isDue() {
    boolean due = meter.isDue(System.nanoTime());
    if (due) {
      workedBefore = loop.worked().toNanos();
    }
    return due;
  }

  /**
   * A ping follows a write, all of whose data has left before it.
   *
   * @param pingTag its task tag
   */
  void follows(Command write, int pingTag) {
    sample = meter.begin(write.started, workedBefore, 0);
    command = write;
    tag = pingTag;
  }

  /** A NOP-In with a tag came. */
  void answered(int pingTag) {
    LinkMeter.Sample its = sample;
    if (its != null && pingTag == tag) {
      tag = Pdu.NO_TAG;
      its.answered(System.nanoTime(), loop.worked().toNanos(), 0);
    }
  }

  /** A command is over on the wire. */
  void ended(Command over, boolean well) {
    LinkMeter.Sample its = sample;
    if (its != null && over == command) {
      command = null;
      if (well) {
        its.ended(System.nanoTime());
      } else {
        its.dropped(System.nanoTime());
      }
    }
  }

  /** From any thread. */
  LinkTimes times() {
    return meter.times();
  }
}
