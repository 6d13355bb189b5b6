package io.xenferry.copy;

import io.xenferry.copy.CopySnapshot.Bottleneck;
import io.xenferry.copy.Flight.Transfer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** What a disk's copy counts: bytes by kind, times by what was waited for, passes. */
final class DiskCounters {
  /** Below this a rate says more about one request than about the disk. */
  private static final long SHORTEST_MEASURE = Duration.ofMillis(20).toNanos();

  /** Passes that are told of, the first and the last ones: a copy that is held makes thousands. */
  private static final int FIRST = 16;

  private static final int TOLD = 64;

  private final List<CopySnapshot.Pass> passes = new ArrayList<>();
  private int passCount;
  long read;
  long skipped;
  long zeroed;
  long sent;
  long saved;
  long readNanos;
  long writeNanos;
  long rateNanos;
  long bufferNanos;

  /** Of the last flush. */
  long flushNanos;

  private long allFlushNanos;
  long allocated;
  long dirtyRate;
  private long rate;
  private long passStarted;
  private boolean inPass;
  private long passDirty;
  private long sentBefore;
  private long zeroedBefore;
  private long skippedBefore;
  private long savedBefore;

  void passBegins(long now, long dirty) {
    passStarted = now;
    inPass = true;
    passDirty = dirty;
    sentBefore = sent;
    zeroedBefore = zeroed;
    skippedBefore = skipped;
    savedBefore = saved;
    if (passes.isEmpty()) {
      allocated = dirty;
    }
  }

  void count(Transfer transfer) {
    read += transfer.bytesRead;
    readNanos += Math.max(0, transfer.readDone - transfer.readIssued);
    writeNanos += transfer.writeNanos;
    if (transfer.destinationFailure == null && transfer.sourceFailure == null && !transfer.lost) {
      skipped += transfer.bytesSkipped;
      zeroed += transfer.bytesZeroed;
      sent += transfer.bytesSent;
      saved += transfer.bytesSaved;
    }
  }

  void passEnds(long now, long left) {
    long took = now - passStarted;
    CopySnapshot.Pass pass =
        new CopySnapshot.Pass(
            ++passCount,
            passDirty,
            sent - sentBefore,
            zeroed - zeroedBefore,
            skipped - skippedBefore,
            saved - savedBefore,
            Duration.ofNanos(took));
    passes.add(pass);
    if (passes.size() > TOLD) {
      passes.remove(FIRST);
    }
    measure(now);
    inPass = false;
    dirtyRate = (long) (left / Math.max(1e-3, took / 1e9));
  }

  /** The logical rate of the pass under way, or that of the last one long enough to tell. */
  long rate(long now) {
    measure(now);
    return rate;
  }

  /** A rest after a pass says nothing about the rate. */
  private void measure(long now) {
    if (!inPass) {
      return;
    }
    long took = now - passStarted;
    long bytes = doneInPass();
    if ((took >= SHORTEST_MEASURE || rate == 0) && took > 0 && bytes > 0) {
      rate = (long) (bytes / (took / 1e9));
    }
  }

  long doneInPass() {
    return sent
        - sentBefore
        + zeroed
        - zeroedBefore
        + skipped
        - skippedBefore
        + saved
        - savedBefore;
  }

  long passDirty() {
    return passDirty;
  }

  /** The first ones and the last ones, by their numbers. */
  List<CopySnapshot.Pass> passes() {
    return List.copyOf(passes);
  }

  int passCount() {
    return passCount;
  }

  /** The size of the dirty set of the pass that many before the last. */
  long dirtyOfPassBefore(int back) {
    return passes.get(passes.size() - 1 - back).dirty();
  }

  void flushed(long took) {
    flushNanos = took;
    allFlushNanos += took;
  }

  CopySnapshot.Waits waits() {
    return new CopySnapshot.Waits(
        Duration.ofNanos(readNanos),
        Duration.ofNanos(writeNanos),
        Duration.ofNanos(rateNanos),
        Duration.ofNanos(bufferNanos),
        Duration.ofNanos(allFlushNanos));
  }

  Bottleneck bottleneck(int depth) {
    long[] waited = {readNanos, writeNanos, rateNanos * depth, bufferNanos * depth};
    Bottleneck[] names = {
      Bottleneck.SOURCE_READ,
      Bottleneck.DESTINATION_WRITE,
      Bottleneck.RATE_LIMIT,
      Bottleneck.BUFFERS
    };
    int most = 0;
    for (int i = 1; i < waited.length; i++) {
      if (waited[i] > waited[most]) {
        most = i;
      }
    }
    return waited[most] == 0 ? Bottleneck.NONE : names[most];
  }
}
