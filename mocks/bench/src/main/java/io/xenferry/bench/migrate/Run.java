package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import io.xenferry.bench.migrate.Contender.Guest;
import io.xenferry.bench.migrate.Contender.Moved;
import io.xenferry.bench.migrate.Network.Side;
import io.xenferry.bench.migrate.Trace.Interval;
import java.io.IOException;
import java.time.Duration;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;

/**
 * One move and what it cost.
 *
 * @param failure why there are no figures: it did not converge, or broke
 */
record Run(String contender, Rate rate, Optional<Figures> figures, Optional<String> failure) {
  private static final long START_NANOS = TimeUnit.SECONDS.toNanos(120);
  private static final long SETTLE_NANOS = TimeUnit.MILLISECONDS.toNanos(700);
  private static final long VERDICT_NANOS = TimeUnit.SECONDS.toNanos(60);
  private static final long AFTERWARDS_NANOS = TimeUnit.SECONDS.toNanos(15);

  /**
   * What a move cost. Times are in milliseconds, latencies in microseconds.
   *
   * @param total from the start of the command to the first heartbeat at the destination
   * @param gap between the last heartbeat at the source and the first at the destination
   * @param stall the longest time between two heartbeats while the copy ran
   * @param reported downtime, by the hypervisor
   * @param sent bytes that left the source, with all headers
   * @param told bytes of disk and memory that the mover says it has sent
   * @param before the guest's writes before the move
   * @param during and while it ran, up to the last heartbeat at the source
   */
  record Figures(
      double total,
      double gap,
      double stall,
      OptionalDouble reported,
      long sent,
      OptionalLong told,
      Optional<Interval> before,
      Optional<Interval> during,
      String remark) {}

  /**
   * @param before how long the guest writes undisturbed beforehand
   * @param limit after which a move counts as not converging
   */
  static Run of(
      Contender contender,
      GuestImage image,
      Network network,
      Rate rate,
      Duration before,
      Duration limit)
      throws InterruptedException {
    Trace trace = new Trace();
    try (Guest guest = contender.start(image, rate, trace)) {
      return new Run(
          contender.name(),
          rate,
          Optional.of(measure(guest, trace, image, network, before, limit)),
          Optional.empty());
    } catch (Commands.Overdue e) {
      return failed(contender, rate, "not done: ", e);
    } catch (IOException e) {
      return failed(contender, rate, "", e);
    }
  }

  /** What could not be cleaned up is told as well: it disturbs the moves that follow. */
  private static Run failed(Contender contender, Rate rate, String prefix, IOException e) {
    StringBuilder words = new StringBuilder(prefix).append(e.getMessage());
    for (Throwable suppressed : e.getSuppressed()) {
      words.append("; not cleaned up: ").append(suppressed.getMessage());
    }
    return new Run(contender.name(), rate, Optional.empty(), Optional.of(words.toString()));
  }

  private static Figures measure(
      Guest guest, Trace trace, GuestImage image, Network network, Duration before, Duration limit)
      throws IOException, InterruptedException {
    if (!trace.await(() -> trace.firstBeat(Side.SOURCE).isPresent(), START_NANOS)) {
      throw new IOException(
          "no heartbeat of the guest" + trace.fault().map(f -> ": " + f).orElse(""));
    }
    sleep(SETTLE_NANOS);
    long calm = System.nanoTime();
    sleep(before.toNanos());
    long sentBefore = network.sent(Side.SOURCE);
    long start = System.nanoTime();
    Moved moved = guest.move(limit);
    if (!trace.await(() -> trace.firstBeat(Side.DESTINATION).isPresent(), AFTERWARDS_NANOS)) {
      throw new IOException("no heartbeat at the destination after the move");
    }
    long sent = network.sent(Side.SOURCE) - sentBefore;
    long end = trace.firstBeat(Side.DESTINATION).orElseThrow().heard();
    long paused = trace.lastAtSource().orElseThrow().heard();
    sleep(SETTLE_NANOS);
    check(guest, trace, image);
    return new Figures(
        (end - start) / 1e6,
        trace.gapAtSwitch().orElseThrow(),
        trace.longestGap(start, paused),
        moved.downtime(),
        sent,
        moved.sent(),
        trace.interval(calm, start),
        trace.interval(start, paused),
        moved.remark());
  }

  /** No figure counts for a move that lost something. */
  private static void check(Guest guest, Trace trace, GuestImage image)
      throws IOException, InterruptedException {
    long last = trace.lastAtSource().orElseThrow().number();
    long first = trace.firstBeat(Side.DESTINATION).orElseThrow().number();
    if (first <= last) {
      throw new IOException(
          "the guest did not go on at the destination: it began anew (heartbeat "
              + first
              + " after "
              + last
              + ")");
    }
    guest.askForVerdict();
    if (!trace.await(() -> trace.verdict().isPresent(), VERDICT_NANOS)) {
      throw new IOException("the guest did not finish reading its disk back");
    }
    Trace.Verdict verdict = trace.verdict().orElseThrow();
    if (verdict.bad() > 0 || trace.errors() > 0) {
      throw new IOException(
          "the guest found "
              + verdict.bad()
              + " of its "
              + verdict.checked()
              + " blocks wrong, and had "
              + trace.errors()
              + " failed writes");
    }
    image.compareUntouched(guest.movedDisk());
  }

  private static void sleep(long nanos) throws InterruptedException {
    TimeUnit.NANOSECONDS.sleep(nanos);
  }
}
