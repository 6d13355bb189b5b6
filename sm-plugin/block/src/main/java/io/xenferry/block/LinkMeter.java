package io.xenferry.block;

import java.time.Duration;

/**
 * Finds out what writes through a connection wait for, by samples. Behind a write, on the same
 * connection, goes a question that changes nothing, and which the far end answers as soon as it has
 * read it: until then both were on their way, and from then on the write waits for the device. The
 * time of the way belongs to the processor and to encryption as far as these were at work
 * meanwhile, and else to the network.
 *
 * <p>One sample at a time. Thread-safe; times are nanoseconds of one monotonic clock.
 */
public final class LinkMeter {
  /** Twenty small requests a second cost nobody anything. */
  private static final long INTERVAL = Duration.ofMillis(50).toNanos();

  private volatile long next;
  private volatile boolean busy;
  private long sampled;
  private long processor;
  private long encryption;
  private long network;

  /**
   * @param now from when on a first sample is of interest
   */
  public LinkMeter(long now) {
    next = now;
  }

  /** Whether the write that is about to leave should be looked at. */
  public boolean isDue(long now) {
    return !busy && now - next >= 0;
  }

  /**
   * A write leaves, and the question behind it.
   *
   * @param worked what the thread that carries it has had of processors so far
   * @param encrypted how long data was encrypted so far
   */
  public synchronized Sample begin(long now, long worked, long encrypted) {
    busy = true;
    return new Sample(now, worked, encrypted);
  }

  /** What the samples until now say. */
  public synchronized LinkTimes times() {
    return new LinkTimes(
        Duration.ofNanos(sampled),
        Duration.ofNanos(processor),
        Duration.ofNanos(encryption),
        Duration.ofNanos(network));
  }

  private void over(long now) {
    busy = false;
    next = now + INTERVAL;
  }

  /** A write that is looked at. */
  public final class Sample {
    private final long began;
    private final long workedBefore;
    private final long encryptedBefore;
    private boolean answered;
    private boolean ended;
    private boolean over;
    private long answer;
    private long end;
    private long worked;
    private long encrypted;

    private Sample(long began, long worked, long encrypted) {
      this.began = began;
      this.workedBefore = worked;
      this.encryptedBefore = encrypted;
    }

    /** The question's answer is there; the other figures as of {@link LinkMeter#begin}. */
    public void answered(long now, long workedNow, long encryptedNow) {
      synchronized (LinkMeter.this) {
        answered = true;
        answer = now;
        worked = workedNow - workedBefore;
        encrypted = encryptedNow - encryptedBefore;
        count(now);
      }
    }

    /** The write has been done. */
    public void ended(long now) {
      synchronized (LinkMeter.this) {
        ended = true;
        end = now;
        count(now);
      }
    }

    /** One of the two has failed: the sample says nothing. */
    public void dropped(long now) {
      synchronized (LinkMeter.this) {
        if (!over) {
          over = true;
          over(now);
        }
      }
    }

    private void count(long now) {
      if (over || !answered || !ended) {
        return;
      }
      over = true;
      over(now);
      // A write that is done before the answer comes was on its way all the time.
      long way = Math.max(0, Math.min(answer, end) - began);
      long ciphers = Math.clamp(encrypted, 0, way);
      long ran = Math.clamp(worked, 0, way - ciphers);
      sampled += Math.max(0, end - began);
      encryption += ciphers;
      processor += ran;
      network += way - ciphers - ran;
    }
  }
}
