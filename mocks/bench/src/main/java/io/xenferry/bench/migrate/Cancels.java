package io.xenferry.bench.migrate;

import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.concurrent.TimeUnit;

/** Cancels moves at random moments of theirs, and tells how long it takes until all is undone. */
final class Cancels {
  /** What the project aims at. */
  private static final double AIM = 2;

  private static final long START_NANOS = TimeUnit.SECONDS.toNanos(120);

  private final XenFerry mover;
  private final GuestImage image;
  private final Rate rate;
  private final Duration limit;
  private final PrintStream out;
  private final Random random = new Random(1);
  private final List<Double> seconds = new ArrayList<>();
  private int tooLate;

  /**
   * @param limit for a move that goes on, and for a cancelled one to end
   */
  Cancels(XenFerry mover, GuestImage image, Rate rate, Duration limit, PrintStream out) {
    this.mover = mover;
    this.image = image;
    this.rate = rate;
    this.limit = limit;
    this.out = out;
  }

  /**
   * @param count moves that are to be cancelled in time
   * @throws IOException when one does not end, leaves something, or does not leave the guest alone
   */
  void measure(int count) throws IOException, InterruptedException {
    // No move is cancelled after what the first, which is not cancelled, has taken.
    long whole = 0;
    while (seconds.size() < count) {
      Trace trace = new Trace();
      try (XenFerry.Running guest = mover.start(image, rate, trace)) {
        if (!trace.await(() -> trace.firstBeat(Side.SOURCE).isPresent(), START_NANOS)) {
          throw new IOException("no heartbeat of the guest");
        }
        if (whole == 0) {
          long began = System.nanoTime();
          guest.move(limit);
          whole = System.nanoTime() - began;
          continue;
        }
        while (seconds.size() < count && once(guest, trace, whole)) {}
      }
    }
    out.printf(
        Locale.ROOT,
        "%s, %s: %d cancelled, %d past their commit; median %.2f s, longest %.2f s%n",
        mover.name(),
        rate.label(),
        count,
        tooLate,
        Medians.of(seconds),
        Collections.max(seconds));
    Medians.ratio("cancel " + rate.label(), Collections.max(seconds) / AIM);
  }

  private boolean once(XenFerry.Running guest, Trace trace, long whole)
      throws IOException, InterruptedException {
    Duration after = Duration.ofNanos(random.nextLong(whole));
    OptionalDouble took = guest.cancel(after, limit);
    if (took.isEmpty()) {
      tooLate++;
      return false;
    }
    long now = System.nanoTime();
    if (!trace.await(
        () -> trace.lastAtSource().filter(b -> b.heard() > now).isPresent(), START_NANOS)) {
      throw new IOException("the guest stands still after its move was cancelled");
    }
    seconds.add(took.getAsDouble());
    out.printf(
        Locale.ROOT, "cancelled after %d ms: %.2f s%n", after.toMillis(), took.getAsDouble());
    return true;
  }
}
