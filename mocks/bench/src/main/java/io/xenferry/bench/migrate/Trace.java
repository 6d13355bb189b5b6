package io.xenferry.bench.migrate;

import io.xenferry.bench.migrate.Network.Side;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;

/**
 * What one guest said in one run, with the time at which it was heard here, in nanoseconds of
 * {@link System#nanoTime}. The guest's own clock stands still when the guest does, so gaps are told
 * by ours. Thread-safe.
 */
final class Trace {

  /** A heartbeat. */
  record Beat(long heard, Side side, long number) {}

  /**
   * One of the guest's reports.
   *
   * @param clock the guest's, in milliseconds
   * @param writes since the guest started
   * @param latencies since the report before
   */
  record Report(long heard, Side side, long clock, long writes, long errors, Latencies latencies) {}

  /** What the guest found when it read back all it had written. */
  record Verdict(long checked, long bad) {}

  /** Part of a run. */
  record Interval(double writesPerSecond, OptionalDouble p99) {}

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition heard = lock.newCondition();
  private final List<Beat> beats = new ArrayList<>();
  private final List<Report> reports = new ArrayList<>();
  private Optional<Verdict> verdict = Optional.empty();
  private Optional<String> fault = Optional.empty();

  /** Takes in a line; what is cut off or unknown is left out. */
  void line(Side side, long time, String line) {
    lock.lock();
    try {
      String[] words = line.split(" ", -1);
      switch (words[0]) {
        case "H" -> beats.add(new Beat(time, side, Long.parseLong(words[2])));
        case "S" ->
            reports.add(
                new Report(
                    time,
                    side,
                    Long.parseLong(words[1]),
                    number(words[2], "w="),
                    number(words[3], "e="),
                    Latencies.parse(value(words[5], "h="))));
        case "V" ->
            verdict =
                Optional.of(new Verdict(number(words[1], "checked="), number(words[2], "bad=")));
        case "E" -> fault = Optional.of(line);
        default -> {}
      }
      heard.signalAll();
    } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
      // The first line after a connection begins anywhere, and one may be cut by the switch.
      return;
    } finally {
      lock.unlock();
    }
  }

  private static long number(String word, String name) {
    return Long.parseLong(value(word, name));
  }

  private static String value(String word, String name) {
    if (!word.startsWith(name)) {
      throw new IllegalArgumentException(word);
    }
    return word.substring(name.length());
  }

  Optional<Beat> firstBeat(Side side) {
    return locked(() -> beats.stream().filter(b -> b.side() == side).findFirst());
  }

  /** The last heartbeat of the source before the first of the destination. */
  Optional<Beat> lastAtSource() {
    return locked(() -> beats.stream().filter(b -> b.side() == Side.SOURCE).reduce((a, b) -> b));
  }

  /** Milliseconds between the last heartbeat here and the first there. */
  OptionalDouble gapAtSwitch() {
    return locked(() -> {
      Optional<Beat> last = lastAtSource();
      Optional<Beat> first = firstBeat(Side.DESTINATION);
      return last.isPresent() && first.isPresent()
          ? OptionalDouble.of((first.get().heard() - last.get().heard()) / 1e6)
          : OptionalDouble.empty();
    });
  }

  /** Milliseconds: the longest time between two heartbeats at the source within an interval. */
  double longestGap(long from, long to) {
    return locked(() -> {
      long before = 0;
      long longest = 0;
      for (Beat beat : beats) {
        if (beat.side() == Side.SOURCE && beat.heard() >= from && beat.heard() <= to) {
          longest = before == 0 ? longest : Math.max(longest, beat.heard() - before);
          before = beat.heard();
        }
      }
      return longest / 1e6;
    });
  }

  /** The source's reports that were heard within an interval, all but the first counted whole. */
  Optional<Interval> interval(long from, long to) {
    return locked(() -> {
      List<Report> within =
          reports.stream()
              .filter(r -> r.side() == Side.SOURCE && r.heard() >= from && r.heard() <= to)
              .toList();
      if (within.size() < 2) {
        return Optional.empty();
      }
      Latencies latencies = new Latencies();
      within.stream().skip(1).forEach(r -> latencies.add(r.latencies()));
      double millis = within.getLast().clock() - within.getFirst().clock();
      return Optional.of(
          new Interval(
              (within.getLast().writes() - within.getFirst().writes()) / millis * 1000,
              latencies.quantile(0.99)));
    });
  }

  /** Writes that failed in the guest so far. */
  long errors() {
    return locked(() -> reports.isEmpty() ? 0L : reports.getLast().errors());
  }

  Optional<Verdict> verdict() {
    return locked(() -> verdict);
  }

  Optional<String> fault() {
    return locked(() -> fault);
  }

  /** Waits until something is true of this trace, or until the deadline; whether it became true. */
  boolean await(Supplier<Boolean> condition, long deadlineNanos) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      long left = deadlineNanos;
      while (!condition.get()) {
        if (left <= 0) {
          return false;
        }
        left = heard.awaitNanos(left);
      }
      return true;
    } finally {
      lock.unlock();
    }
  }

  private <T> T locked(Supplier<T> action) {
    lock.lock();
    try {
      return action.get();
    } finally {
      lock.unlock();
    }
  }
}
