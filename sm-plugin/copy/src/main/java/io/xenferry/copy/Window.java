package io.xenferry.copy;

import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * How many transfers of a disk may be under way, and of how many bytes each: enough to keep source,
 * network and destination busy, and not much more, since what waits in a queue there holds up the
 * guest's mirrored writes, the last flush, and every change of a limit.
 *
 * <p>Nobody tells what the path can do, so it is measured, in rounds of as many transfers as may be
 * under way: how long one takes, and how many bytes all of them bring a second.
 *
 * <ul>
 *   <li>While a transfer takes hardly longer than it does where nothing is queued, the next round
 *       has twice as many, up to what costs next to nothing.
 *   <li>Beyond that, and where there is a queue already, more are tried, and stay only if the rate
 *       rises with them.
 *   <li>Where a transfer takes much longer, fewer are tried, and stay unless the rate falls with
 *       them. If it does then that was no queue: the path is as long as that, at least for now.
 *   <li>Requests that take long to go through are halved, unless that costs; those that go through
 *       at once are doubled.
 * </ul>
 *
 * <p>A round in which something else was in the way, a limit, a buffer, the end of a pass, says
 * nothing about the path, and changes nothing. Confined to the job's scheduler.
 */
final class Window {
  /**
   * Before anything is known. Of half the largest size, 1 MiB: at 100 KB/s that is what the
   * deadline of a write still lets pass.
   */
  private static final int FIRST = 4;

  /** One is read while another is written. */
  private static final int LEAST = 2;

  /** 8 MiB of memory, and of the processors' caches: worth less than what asking would cost. */
  private static final int CHEAP = 16;

  /** Bridges the pauses of threads, at both ends. */
  private static final long SHORT_QUEUE = Duration.ofMillis(5).toNanos();

  /** What nobody notices who waits behind it. */
  private static final long LONG_QUEUE = Duration.ofMillis(20).toNanos();

  /** Twice as much is not begun at a venture where one transfer takes so long already. */
  private static final long LONG_WAY = Duration.ofMillis(500).toNanos();

  /** A rate over less is chance. */
  private static final long MEASURE = Duration.ofMillis(50).toNanos();

  /** One request may occupy the path for so long. */
  private static final long REQUEST = Duration.ofMillis(10).toNanos();

  /** Beyond so many times as long nothing speaks for it. */
  private static final int FAR_TOO_LONG = 10;

  /** Measures between two attempts to have more under way; twice as many after one in vain. */
  private static final int PATIENCE = 4;

  private static final int LONGEST_PATIENCE = 64;

  /**
   * Measures after which fewer are tried although nothing speaks for it: what counted as the path's
   * own may have been a queue from the start.
   */
  private static final int PROBE = 32;

  private static final long NONE = Long.MIN_VALUE;

  private enum Kind {
    MORE,
    FEWER,
    PROBE,
    SMALLER,
    LARGER
  }

  /** What is tried, and what was before. */
  private record Trial(Kind kind, int depth, int size, double rate, long latency) {}

  private final int most;
  private final int smallest;
  private final int largest;
  private int depth;
  private int size;

  /** Nanoseconds that a transfer takes where nothing is queued, as far as known. */
  private long base;

  /** Nothing is queued yet. */
  private boolean climbing;

  /** More have brought nothing, or fewer have cost nothing. */
  private boolean full;

  private int patience;
  private int lastPatience;
  private int sinceProbe;

  /**
   * Bytes a nanosecond at which smaller requests have cost too much; larger ones brought nothing.
   */
  private double smallerRefused;

  private double largerRefused;

  private @Nullable Trial trial;

  // The round: of what was begun after the last change, from the arrival of the first on.
  private long changed;
  private long since;
  private int count;
  private long latency;
  private long bytes;

  /**
   * @param most transfers that may ever be under way, 1 or more
   * @param smallest bytes of a request
   * @param largest bytes of a request, no less
   */
  Window(int most, int smallest, int largest) {
    this.most = most;
    this.smallest = smallest;
    this.largest = largest;
    restart();
  }

  /** Nothing is known: the destination is another one, or was away. */
  void restart() {
    depth = Math.min(most, FIRST);
    size = Math.max(smallest, largest / 2);
    base = Long.MAX_VALUE;
    climbing = true;
    full = false;
    patience = 0;
    lastPatience = PATIENCE;
    sinceProbe = 0;
    smallerRefused = Double.MAX_VALUE;
    largerRefused = 0;
    trial = null;
    hindered();
  }

  /** Transfers that may be under way. */
  int depth() {
    return depth;
  }

  /** Bytes of the largest transfer that should be begun. */
  int requestSize() {
    return size;
  }

  /** Fewer are under way than might be, for another reason than the path. */
  void hindered() {
    changed = NONE;
  }

  /**
   * A transfer has arrived.
   *
   * @param issued when it was begun, by the clock that says {@code now}
   * @param length its bytes
   * @param sent how many of them were data that the destination was sent
   */
  void arrived(long issued, long now, long length, long sent) {
    if (changed == NONE) {
      begin(now);
    }
    boolean tells = issued >= changed && sent == length && length > size / 2;
    if (since == NONE) {
      since = tells ? now : NONE;
      if (!climbing) {
        return;
      }
    }
    bytes += sent;
    if (tells) {
      count++;
      latency += now - issued;
    }
    if (climbing && count > depth / 4) {
      climb(latency / count);
      begin(now);
    } else if (!climbing && count >= depth && now - since >= MEASURE) {
      measured((double) bytes / (now - since), latency / count);
      begin(now);
    }
  }

  private void begin(long now) {
    changed = now;
    since = NONE;
    count = 0;
    latency = 0;
    bytes = 0;
  }

  /** Twice as much under way where that costs next to nothing, until it begins to queue. */
  private void climb(long mean) {
    base = Math.min(base, mean);
    int cheap = Math.min(most, CHEAP);
    if (mean - base > SHORT_QUEUE || mean > LONG_WAY) {
      climbing = false;
    } else if (depth < cheap) {
      depth = Math.min(2 * depth, cheap);
    } else if (size < largest) {
      size = Math.min(2 * size, largest);
    } else {
      climbing = false;
    }
  }

  private void measured(double rate, long mean) {
    Trial before = trial;
    if (before == null) {
      base = Math.min(base, mean);
      decide(rate, mean);
    } else {
      trial = null;
      if (stays(before, rate)) {
        base = Math.min(base, mean);
        stayed(before, rate, mean);
      } else {
        depth = before.depth;
        size = before.size;
        refused(before);
      }
    }
  }

  private void decide(double rate, long mean) {
    long queued = mean - base;
    long allowed = Math.max(base / 2, LONG_QUEUE);
    boolean probe = ++sinceProbe > PROBE && (mean > LONG_QUEUE || depth > CHEAP);
    if (size > smallest && size / rate > FAR_TOO_LONG * REQUEST) {
      size = Math.max(smallest, size / 2);
      base = Long.MAX_VALUE;
    } else if (depth > LEAST && queued > allowed) {
      // So many as leave half of the queue that is allowed; far from it, half of them, and so on.
      double share = Math.max(0.5, (base + allowed / 2.0) / mean);
      attempt(Kind.FEWER, Math.max(LEAST, (int) (depth * share)), size, rate, mean);
    } else if (depth > LEAST && probe) {
      attempt(Kind.PROBE, Math.max(LEAST, depth * 3 / 4), size, rate, mean);
    } else if (full
        && size > smallest
        && mean > LONG_QUEUE
        && size / rate > REQUEST
        && rate < smallerRefused / 2) {
      int smaller = Math.max(smallest, size / 2);
      attempt(Kind.SMALLER, Math.min(most, 2 * depth), smaller, rate, mean);
    } else if (size < largest && 2 * size / rate <= REQUEST / 2.0) {
      int larger = Math.min(largest, 2 * size);
      base += (long) ((larger - size) / rate);
      size = larger;
    } else if (full && size < largest && (rate > 2 * largerRefused || rate < largerRefused / 2)) {
      int larger = Math.min(largest, 2 * size);
      attempt(Kind.LARGER, Math.max(LEAST, depth / 2), larger, rate, mean);
    } else if (depth < most && --patience <= 0) {
      more(rate, mean);
    }
  }

  private void more(double rate, long mean) {
    attempt(Kind.MORE, Math.min(most, Math.max(depth + 1, depth * 3 / 2)), size, rate, mean);
  }

  private void attempt(Kind kind, int newDepth, int newSize, double rate, long mean) {
    trial = new Trial(kind, depth, size, rate, mean);
    depth = newDepth;
    size = newSize;
    if (kind == Kind.FEWER || kind == Kind.PROBE) {
      sinceProbe = 0;
    }
  }

  private boolean stays(Trial before, double rate) {
    double change = (double) depth / before.depth;
    double gain = rate / before.rate;
    return switch (before.kind) {
      case MORE -> gain >= 1 + (change - 1) / (depth > CHEAP ? 6 : 16);
      case FEWER, PROBE -> gain >= 1 - (1 - change) / 2;
      case SMALLER -> gain >= 0.9;
      case LARGER -> gain >= 1.1;
    };
  }

  private void stayed(Trial before, double rate, long mean) {
    switch (before.kind) {
      case MORE -> {
        full = false;
        lastPatience = PATIENCE;
        patience = 0;
        if (depth < most && mean - base <= Math.max(base / 2, LONG_QUEUE)) {
          more(rate, mean);
        }
      }
      case FEWER -> full = true;
      case PROBE -> {
        full = true;
        sinceProbe = PROBE; // and once more, soon
      }
      case SMALLER -> {
        base = Math.max(1, base - (long) ((before.size - size) / rate));
        largerRefused = rate;
      }
      case LARGER -> {
        base = Long.MAX_VALUE;
        smallerRefused = rate;
      }
    }
  }

  private void refused(Trial before) {
    switch (before.kind) {
      case MORE -> {
        full = true;
        lastPatience = Math.min(LONGEST_PATIENCE, 2 * lastPatience);
        patience = lastPatience;
      }
      case FEWER ->
          // Not at once to what it was: that may have been measured amid a change.
          base = Math.min(before.latency, Math.max(2 * base, base + LONG_QUEUE));
      case SMALLER -> smallerRefused = before.rate;
      case LARGER -> largerRefused = before.rate;
      case PROBE -> {}
    }
  }
}
