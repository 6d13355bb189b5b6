package io.xenferry.copy;

import io.xenferry.block.LinkTimes;
import io.xenferry.copy.CopySnapshot.Bottleneck;
import io.xenferry.copy.CopySnapshot.Waits;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/** What a disk's copy counts: bytes by kind, times by what was waited for, passes. */
final class DiskCounters {
  /** Below this a rate says more about one request than about the disk. */
  private static final long SHORTEST_MEASURE = Duration.ofMillis(20).toNanos();

  /** Passes that are told of, the first and the last ones: a copy that is held makes thousands. */
  private static final int FIRST = 16;

  private static final int TOLD = 64;

  /** A thread that rests less than this share of its time holds up what waits for it. */
  private static final double HARDLY_RESTS = 0.8;

  private final Scheduler scheduler;
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

  /** Of passes that have ended, and what the copy's thread has worked in them. */
  private long passNanos;

  private long workedNanos;
  private long workedBefore;

  DiskCounters(Scheduler scheduler) {
    this.scheduler = scheduler;
  }

  void passBegins(long now, long dirty) {
    passStarted = now;
    workedBefore = scheduler.worked().toNanos();
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
    passNanos += took;
    workedNanos += scheduler.worked().toNanos() - workedBefore;
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

  /**
   * What requests have waited for.
   *
   * @param link of the writes' way, by which their time is divided
   */
  Waits waits(LinkTimes link) {
    long network = share(link.network(), link);
    long encryption = share(link.encryption(), link);
    long processor = share(link.processor(), link);
    return new Waits(
        Duration.ofNanos(readNanos),
        Duration.ofNanos(Math.max(0, writeNanos - network - encryption - processor)),
        Duration.ofNanos(network),
        Duration.ofNanos(encryption),
        Duration.ofNanos(processor),
        Duration.ofNanos(rateNanos),
        Duration.ofNanos(bufferNanos),
        Duration.ofNanos(allFlushNanos));
  }

  /** What that part of the samples is of all writes. */
  private long share(Duration part, LinkTimes link) {
    return link.sampled().isZero()
        ? 0
        : (long) (writeNanos * ((double) part.toNanos() / link.sampled().toNanos()));
  }

  /** What was waited for most; the copy's own thread, if that has hardly ever rested. */
  Bottleneck bottleneck(int depth, LinkTimes link) {
    if (hardlyRests()) {
      return Bottleneck.CPU;
    }
    Waits waits = waits(link);
    Map<Bottleneck, Duration> all = new EnumMap<>(Bottleneck.class);
    all.put(Bottleneck.SOURCE_READ, waits.sourceRead());
    all.put(Bottleneck.DESTINATION_WRITE, waits.destinationWrite());
    all.put(Bottleneck.NETWORK, waits.network());
    all.put(Bottleneck.ENCRYPTION, waits.encryption());
    all.put(Bottleneck.CPU, waits.processor());
    // Nothing is in flight for the sake of these: all that might be waits.
    all.put(Bottleneck.RATE_LIMIT, waits.rateLimit().multipliedBy(depth));
    all.put(Bottleneck.BUFFERS, waits.buffers().multipliedBy(depth));
    return all.entrySet().stream()
        .filter(wait -> !wait.getValue().isZero())
        .max(Map.Entry.comparingByValue())
        .map(Map.Entry::getKey)
        .orElse(Bottleneck.NONE);
  }

  private boolean hardlyRests() {
    long passed = passNanos;
    long worked = workedNanos;
    if (inPass) {
      passed += scheduler.nanoTime() - passStarted;
      worked += scheduler.worked().toNanos() - workedBefore;
    }
    return passed > 0 && worked >= HARDLY_RESTS * passed;
  }
}
