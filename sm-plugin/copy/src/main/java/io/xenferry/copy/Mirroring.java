package io.xenferry.copy;

import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The mirror of one disk: begun when the copy wants it, ended when the guest stands still, and
 * given up when it dies or stalls, which the guest does not notice.
 *
 * <pre>
 *   NONE → STARTING → UP → ENDING → NONE     well, or not
 *            └────────┴→ NONE                died; begun again, but not for ever
 * </pre>
 *
 * Confined to the job's scheduler.
 */
final class Mirroring {
  /** A mirror that dies so often would die again. */
  static final int FALLBACKS_ALLOWED = 3;

  private static final String UNWANTED = "an operator wants none";

  private enum State {
    NONE,
    STARTING,
    UP,
    ENDING
  }

  private final SourceDisk source;
  private Strategy strategy;
  private final WriteOrderingPoint point;
  private final CopyOptions options;
  private final Scheduler scheduler;
  private final Consumer<String> onDeath;

  private State state = State.NONE;
  private SourceDisk.@Nullable Mirror mirror;
  private @Nullable GuestSink sink;
  private boolean stopped;
  private int number;
  private int fallbacks;

  /** Mirrors that may yet be begun; one that is not to be had at all takes all of them. */
  private int tries = FALLBACKS_ALLOWED;

  private boolean impossible;
  private String lastFallback = "";
  private long upSince;
  private long nanosBefore;
  private long bytesBefore;
  private long writesBefore;

  /**
   * @param onDeath called with the reason when one that was up has died; the source's next pass has
   *     what it did not hand over
   */
  Mirroring(
      DiskPlan plan,
      WriteOrderingPoint point,
      CopyOptions options,
      Scheduler scheduler,
      Consumer<String> onDeath) {
    this.source = plan.source();
    this.strategy = plan.strategy();
    this.point = point;
    this.options = options;
    this.scheduler = scheduler;
    this.onDeath = onDeath;
  }

  /** Whether one is to be begun, sooner or later. */
  boolean wanted() {
    return (strategy == Strategy.MIRROR || strategy == Strategy.AUTO)
        && !stopped
        && state == State.NONE
        && tries > 0;
  }

  /** Whether there is one, or may yet be. */
  boolean mayCome() {
    return (strategy == Strategy.MIRROR || strategy == Strategy.AUTO)
        && !stopped
        && (state != State.NONE || tries > 0);
  }

  Strategy strategy() {
    return strategy;
  }

  /**
   * Another strategy from now on. A mirror that it has no use for is given up, as one that died;
   * else mirrors that died before count no longer.
   */
  void strategy(Strategy next) {
    strategy = next;
    tries = impossible ? 0 : FALLBACKS_ALLOWED;
    boolean wasUp = state == State.UP;
    if (next == Strategy.LOG_DIRTY && (wasUp || state == State.STARTING)) {
      SourceDisk.Mirror old = mirror;
      number++;
      settle();
      if (old != null) {
        old.abort(UNWANTED);
      }
      if (wasUp) {
        onDeath.accept(UNWANTED);
      }
    }
  }

  /** Every write of the guest passes the write-ordering point. */
  boolean up() {
    return state == State.UP;
  }

  /** Begins one; {@code then} runs when it is up or cannot be had. */
  void start(Runnable then) {
    state = State.STARTING;
    int mine = ++number;
    GuestSink fresh = new GuestSink(point, scheduler);
    sink = fresh;
    // Before the first write is handed over.
    point.policy(WriteOrderingPoint.Policy.MIRROR);
    source
        .mirror(fresh, options.timing().relayDeadline())
        .whenComplete((begun, failure) ->
            scheduler.execute(() -> {
              if (begun == null) {
                lost(mine, failure == null ? "no mirror" : reason(failure));
                if (failure instanceof UnsupportedOperationException) {
                  impossible = true;
                  tries = 0;
                }
              } else if (mine != number || state != State.STARTING) {
                fresh.shut();
                begun.abort("the copy goes on without it");
              } else {
                state = State.UP;
                mirror = begun;
                point.policy(WriteOrderingPoint.Policy.MIRROR); // it may have fallen back meanwhile
                upSince = scheduler.nanoTime();
                begun
                    .ended()
                    .whenComplete((done, death) ->
                        scheduler.execute(
                            () -> died(mine, death == null ? "it ended" : reason(death))));
              }
              then.run();
            }));
  }

  private void died(int which, String reason) {
    if (which == number && state == State.UP) {
      lost(which, reason);
      onDeath.accept(reason);
    }
  }

  private void lost(int which, String reason) {
    if (which != number || state == State.NONE) {
      return;
    }
    number++;
    fallbacks++;
    tries--;
    lastFallback = reason;
    settle();
  }

  private void settle() {
    state = State.NONE;
    mirror = null;
    point.policy(WriteOrderingPoint.Policy.LOG_DIRTY);
    GuestSink last = sink;
    sink = null;
    if (last != null) {
      if (!point.hasDefect(WriteOrderingPoint.Defect.SINK_STAYS_OPEN)) {
        last.shut();
      }
      bytesBefore += last.bytes();
      writesBefore += last.writes();
    }
    if (upSince != 0) {
      nanosBefore += scheduler.nanoTime() - upSince;
      upSince = 0;
    }
  }

  /** The write-ordering point mirrors no longer: the guest shall not go through it for nothing. */
  void pointFellBack(String reason) {
    SourceDisk.Mirror old = mirror;
    if (state == State.UP && old != null) {
      lost(number, reason);
      old.abort(reason);
      onDeath.accept(reason);
    }
  }

  /**
   * Ends it while the guest stands still.
   *
   * @param then told whether every write was handed over
   */
  void end(Consumer<Boolean> then) {
    SourceDisk.Mirror old = mirror;
    if (state != State.UP || old == null) {
      then.accept(false);
      return;
    }
    state = State.ENDING;
    int mine = number;
    old.end()
        .whenComplete((done, failure) ->
            scheduler.execute(() -> {
              if (mine != number || state != State.ENDING) {
                return;
              }
              if (failure != null) {
                lost(mine, reason(failure));
              } else {
                number++;
                settle();
              }
              then.accept(failure == null);
            }));
  }

  /** The copy has ended. */
  void stop() {
    stopped = true;
    SourceDisk.Mirror old = mirror;
    number++;
    settle();
    if (old != null) {
      old.abort("the copy has ended");
    }
  }

  private static String reason(Throwable failure) {
    Throwable cause = failure;
    while (cause instanceof CompletionException && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause.getMessage() == null ? cause.toString() : cause.getMessage();
  }

  CopySnapshot.Mirror snapshot() {
    GuestSink now = sink;
    return new CopySnapshot.Mirror(
        strategy,
        state == State.UP || state == State.ENDING,
        Duration.ofNanos(nanosBefore + (upSince == 0 ? 0 : scheduler.nanoTime() - upSince)),
        bytesBefore + (now == null ? 0 : now.bytes()),
        writesBefore + (now == null ? 0 : now.writes()),
        fallbacks,
        lastFallback);
  }
}
