package io.xenferry.guest;

import io.xenferry.guest.ledger.LedgerEntry;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Which process ran the guest when, from the ledger's entries in their order. */
final class RunHistory {

  /** One stretch in which one process ran the guest; without an end it was killed. */
  private static final class Run {
    final long runner;
    final long start;
    long lastSeen;
    boolean ended;

    Run(long runner, long start) {
      this.runner = runner;
      this.start = start;
      this.lastSeen = start;
    }
  }

  private final List<Run> runs = new ArrayList<>();
  private long lastWrite;
  private long longestGap;

  void add(LedgerEntry entry) {
    switch (entry.type()) {
      case FILL -> {}
      case START -> runs.add(new Run(entry.runner(), entry.monotonic()));
      case STOP -> {
        Run run = open(entry.runner());
        if (run != null) {
          run.lastSeen = entry.monotonic();
          run.ended = true;
        }
      }
      case WRITE, FLUSH -> {
        Run run = open(entry.runner());
        if (run == null) {
          // It wrote while it should have stood still: a stretch that nobody announced.
          run = new Run(entry.runner(), entry.monotonic());
          runs.add(run);
        }
        run.lastSeen = Math.max(run.lastSeen, entry.monotonic());
        if (entry.type() == LedgerEntry.Type.WRITE) {
          if (lastWrite != 0) {
            longestGap = Math.max(longestGap, entry.monotonic() - lastWrite);
          }
          lastWrite = Math.max(lastWrite, entry.monotonic());
        }
      }
    }
  }

  private @Nullable Run open(long runner) {
    for (Run run : runs.reversed()) {
      if (run.runner == runner) {
        return run.ended ? null : run;
      }
    }
    return null;
  }

  private List<Run> byStart() {
    List<Run> sorted = new ArrayList<>(runs);
    sorted.sort(Comparator.comparingLong(run -> run.start));
    return sorted;
  }

  /** Stretches that another process began before the one before had ended. */
  int overlaps() {
    int count = 0;
    List<Run> sorted = byStart();
    for (int i = 0; i < sorted.size(); i++) {
      for (int j = i + 1; j < sorted.size(); j++) {
        Run earlier = sorted.get(i);
        Run later = sorted.get(j);
        if (earlier.runner != later.runner && later.start < earlier.lastSeen) {
          count++;
        }
      }
    }
    return count;
  }

  int handovers() {
    int count = 0;
    List<Run> sorted = byStart();
    for (int i = 1; i < sorted.size(); i++) {
      if (sorted.get(i).runner != sorted.get(i - 1).runner) {
        count++;
      }
    }
    return count;
  }

  /** Between processes that handed over in order; what a kill cost is in {@link #longestGap}. */
  Duration longestDowntime() {
    long longest = 0;
    List<Run> sorted = byStart();
    for (int i = 1; i < sorted.size(); i++) {
      Run before = sorted.get(i - 1);
      Run after = sorted.get(i);
      if (before.runner != after.runner && before.ended) {
        longest = Math.max(longest, after.start - before.lastSeen);
      }
    }
    return Duration.ofNanos(longest);
  }

  Duration longestGap() {
    return Duration.ofNanos(longestGap);
  }
}
