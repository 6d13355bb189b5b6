package io.xenferry.copy;

import io.xenferry.copy.CopySnapshot.Phase;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a job shows: progress that never goes back, the rate, what may be expected, and how long it
 * has been in each phase. Written on the job's scheduler, read from any thread.
 */
final class JobFigures {
  /** Beyond so many seconds nothing is predicted. */
  private static final double FOR_EVER = 1e9;

  private final List<DiskCopy> disks;
  private final Scheduler scheduler;
  private final CopyListener listener;
  private final Map<Phase, Duration> phases = new EnumMap<>(Phase.class);
  private final long started;
  private long counted;
  private Phase shown = Phase.COPYING;
  private double progress;
  private volatile CopySnapshot latest =
      new CopySnapshot(
          Phase.COPYING,
          0,
          0,
          Optional.empty(),
          Optional.empty(),
          true,
          Duration.ZERO,
          Map.of(),
          List.of());

  /**
   * @param disks to which more may be added before the first is told
   */
  JobFigures(List<DiskCopy> disks, Scheduler scheduler, CopyListener listener) {
    this.disks = disks;
    this.scheduler = scheduler;
    this.listener = listener;
    this.started = scheduler.nanoTime();
    this.counted = started;
  }

  CopySnapshot latest() {
    return latest;
  }

  /** All is done, whatever the disks say. */
  void complete() {
    progress = 1;
  }

  /** Looks at all disks, and tells the listener when another phase is shown than before. */
  void publish(Phase now) {
    List<CopySnapshot.Disk> figures = disks.stream().map(DiskCopy::snapshot).toList();
    double weighted = 0;
    double weights = 0;
    long rate = 0;
    boolean converges = true;
    double remaining = 0;
    for (int i = 0; i < figures.size(); i++) {
      CopySnapshot.Disk figure = figures.get(i);
      double weight = Math.max(1, disks.get(i).weight());
      weighted += weight * disks.get(i).progress();
      weights += weight;
      rate += figure.bytesPerSecond();
      long gain = figure.bytesPerSecond() - figure.dirtyBytesPerSecond();
      converges &= gain > 0 || figure.left() == 0;
      if (figure.left() > 0) {
        remaining = Math.max(remaining, gain > 0 ? (double) figure.left() / gain : FOR_EVER);
      }
    }
    if (weights > 0) {
      progress = Math.max(progress, Math.min(1, weighted / weights));
    }
    long instant = scheduler.nanoTime();
    phases.merge(shown, Duration.ofNanos(instant - counted), Duration::plus);
    counted = instant;
    latest =
        new CopySnapshot(
            now,
            progress,
            rate,
            remaining >= FOR_EVER || rate == 0
                ? Optional.empty()
                : Optional.of(Duration.ofMillis((long) (remaining * 1000))),
            predictedDowntime(),
            converges,
            Duration.ofNanos(instant - started),
            phases,
            figures);
    if (now != shown) {
      shown = now;
      listener.onPhase(shown);
    }
  }

  /** Of the disk that takes longest; empty where one has no end in sight. */
  private Optional<Duration> predictedDowntime() {
    Duration longest = Duration.ZERO;
    for (DiskCopy disk : disks) {
      Optional<Duration> one = disk.predictedDowntime();
      if (one.isEmpty()) {
        return one;
      }
      longest = Collections.max(List.of(longest, one.get()));
    }
    return Optional.of(longest);
  }
}
