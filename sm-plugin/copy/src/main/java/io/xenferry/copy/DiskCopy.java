package io.xenferry.copy;

import io.xenferry.block.BlockException;
import io.xenferry.block.ByteRate;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/**
 * The copy of one disk: its passes ({@link PassCycle}) through its write-ordering point to a
 * destination that comes and goes ({@link DestinationLink}), what is verified of it, and figures.
 * Confined to the job's scheduler.
 */
final class DiskCopy
    implements WriteOrderingPoint.Listener,
        DestinationLink.Owner,
        PassCycle.Owner,
        Verification.Owner {
  /** Reads in flight of what is verified while the guest runs: beside a pass, not before it. */
  private static final int CHECKS = 4;

  final DiskPlan plan;
  final WriteOrderingPoint point;
  private final CopyJob job;
  private final CopyOptions options;
  private final Scheduler scheduler;
  private final DestinationLink link;
  private final DiskCounters counters = new DiskCounters();
  private final PassCycle passes;
  private final Forecast forecast;
  private final Verification verification;
  private boolean draining;

  DiskCopy(
      CopyJob job,
      DiskPlan plan,
      CopyOptions options,
      BufferPool buffers,
      ByteRate rate,
      ByteRate total,
      Scheduler scheduler) {
    this.job = job;
    this.plan = plan;
    this.options = options;
    this.scheduler = scheduler;
    this.point =
        new WriteOrderingPoint(
            plan.source().name(),
            plan.log(),
            plan.guestDisk(),
            scheduler,
            options.timing(),
            options.digests() || options.verify() != CopyOptions.Verify.NOTHING,
            this);
    if (!plan.source().isWhole()) {
      point.layeredDestination();
    }
    this.link = new DestinationLink(plan, options, scheduler, point, this);
    this.passes =
        new PassCycle(
            this,
            plan,
            point,
            options,
            scheduler,
            counters,
            owner -> new Pump(owner, point, buffers, rate, total, scheduler, counters));
    this.forecast = passes.forecast();
    this.verification =
        new Verification(
            this, point, buffers.bufferSize(), scheduler, options.timing().fenceDeadline());
    if (options.verify() != CopyOptions.Verify.NOTHING) {
      point.unverified().keep();
    }
  }

  void start() {
    link.open();
    passes.start();
  }

  // ---- the destination comes and goes

  @Override
  public void attached(boolean again) {
    if (again) {
      job.destinationBack(this);
    }
    passes.attached();
    verification.run();
  }

  @Override
  public void failed(CopyException cause) {
    job.fail(cause);
  }

  @Override
  public void onDestinationLost(BlockException cause) {
    if (!passes.isStopped()) {
      job.destinationLost(this, cause);
    }
    link.lost();
  }

  @Override
  public void onFallback(String reason) {
    passes.mirroring().pointFellBack(reason);
    job.fallback(this, reason);
  }

  @Override
  public void onLogFailed(Throwable cause) {
    job.fail(
        new CopyException(
            CopyException.Kind.LOG, name() + ": the dirty log cannot be written", cause));
  }

  // ---- what the passes ask and tell

  @Override
  public boolean paused() {
    return job.paused();
  }

  @Override
  public boolean switchHeld() {
    return job.switchHeld();
  }

  @Override
  public void progressed() {
    verification.run();
  }

  @Override
  public void evaluate() {
    job.evaluate();
  }

  @Override
  public void drained() {
    job.drained(this);
  }

  @Override
  public void notConverging(long dirtyRate, long suggested) {
    job.notConverging(this, dirtyRate, suggested);
  }

  @Override
  public void mirrorDied(String reason) {
    job.mirrorDied(this, reason);
  }

  @Override
  public void fail(CopyException cause) {
    job.fail(cause);
  }

  // ---- the switch

  /** Something changed that may let more be sent. */
  void pump() {
    passes.pump();
    verification.run();
  }

  void drain() {
    draining = true;
    if (options.verify() == CopyOptions.Verify.LAST_SET) {
      point.unverified().forget();
    }
    passes.drain();
  }

  /** Brings a mirror up where one is to be had, so that nothing is left when the guest pauses. */
  void prepareSwitch() {
    passes.prepareSwitch();
  }

  boolean prepared() {
    return readyToSwitch() && link.connected() && passes.prepared();
  }

  void resumeCopying() {
    draining = false;
    passes.resumeCopying();
  }

  /** What the guest may be paused for from now on. */
  void downtimeBudget(Duration budget) {
    forecast.budget(budget);
  }

  /** Not to or from {@link Strategy#SNAPSHOT}. */
  void strategy(Strategy next) {
    if (passes.mirroring().strategy() != next) {
      passes.mirroring().strategy(next);
    }
  }

  /** The switch is wanted only now: passes before do not count against the limit. */
  void countPassesAnew() {
    forecast.countPassesAnew();
  }

  boolean isDrained() {
    return passes.isDrained();
  }

  // ---- reading back

  @Override
  public int checks() {
    boolean now =
        switch (options.verify()) {
          case NOTHING -> false;
          case LAST_SET -> draining;
          case EVERYTHING -> forecast.firstPassDone();
        };
    if (!now || passes.isStopped() || job.paused()) {
      return 0;
    }
    return draining ? options.depth() : Math.min(CHECKS, passes.depth());
  }

  @Override
  public void caughtUp() {
    scheduler.execute(job::evaluate);
  }

  /** Completes when nothing of a drained disk is left to be read back. */
  CompletableFuture<Void> verified() {
    return options.verify() == CopyOptions.Verify.NOTHING
        ? CompletableFuture.completedFuture(null)
        : verification.all();
  }

  /**
   * What was sent before the switch is to be read back before it, so that the guest need not wait.
   */
  private boolean mayPause() {
    return options.verify() != CopyOptions.Verify.EVERYTHING || verification.isCaughtUp();
  }

  /**
   * Ends all copying; when the result completes, the destination is fenced and the source closed.
   */
  CompletableFuture<Void> stop() {
    passes.stop();
    return CompletableFuture.allOf(link.close(), passes.closeSource());
  }

  // ---- figures

  String name() {
    return plan.source().name();
  }

  boolean waiting() {
    return passes.state() != PassCycle.State.OPENING && !passes.isStopped() && !link.connected();
  }

  boolean readyToSwitch() {
    return forecast.firstPassDone()
        && passes.state() != PassCycle.State.OPENING
        && mayPause()
        && (fits() || forecast.limitReached());
  }

  boolean fits() {
    return forecast.fits(scheduler.nanoTime());
  }

  Duration predictedDowntime() {
    return forecast.downtime(scheduler.nanoTime());
  }

  /** What the disk counts in the progress of the whole job. */
  long weight() {
    return forecast.weight();
  }

  double progress() {
    return passes.isDrained() ? 0.99 : forecast.progress();
  }

  /** Bytes to be sent or read back. */
  long leftToDo() {
    boolean readsBack = options.verify() == CopyOptions.Verify.EVERYTHING;
    return passes.left() + (readsBack ? verification.left() : 0);
  }

  CopySnapshot.Disk snapshot() {
    return new CopySnapshot.Disk(
        name(),
        link.connected(),
        plan.source().size(),
        counters.allocated,
        counters.read,
        counters.skipped,
        counters.zeroed,
        counters.sent,
        passes.left(),
        counters.rate(scheduler.nanoTime()),
        counters.dirtyRate,
        passes.depth(),
        counters.bottleneck(options.depth()),
        counters.waits(),
        passes.mirroring().snapshot(),
        counters.passes());
  }
}
