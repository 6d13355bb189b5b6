package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.ByteRate;
import io.xenferry.block.Range;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

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
  /** Reads in flight of what is read back while the guest runs: beside a pass, not before it. */
  private static final int READ_BACK = 4;

  /** Questions of 16 MiB at once: one is hashed while another is on its way. */
  private static final int CHECKS = 2;

  /** To read 16 MiB and to hash it takes 10 ms to some seconds, on a disk that is busy. */
  private static final Duration ANSWER = Duration.ofSeconds(20);

  final DiskPlan plan;
  final WriteOrderingPoint point;
  private final CopyJob job;
  private final CopyOptions options;
  private final Scheduler scheduler;
  private final DestinationLink link;
  private final Window window;
  private final ByteRate own;
  private final DiskCounters counters;
  private final PassCycle passes;
  private final Forecast forecast;
  private final Verification verification;
  private boolean draining;

  DiskCopy(
      CopyJob job,
      DiskPlan plan,
      CopyOptions options,
      BufferPool buffers,
      SharedRate rate,
      SharedRate total,
      Scheduler scheduler) {
    this.job = job;
    this.plan = plan;
    this.options = options;
    this.scheduler = scheduler;
    this.counters = new DiskCounters(scheduler);
    this.point =
        new WriteOrderingPoint(
            plan.source().name(), plan.log(), plan.guestDisk(), scheduler, options.timing(), this);
    if (!plan.source().isWhole()) {
      point.layeredDestination();
    }
    this.link = new DestinationLink(plan, options, scheduler, point, this);
    this.own = ByteRate.of(options.bytesPerSecondOfEach());
    List<SharedRate> limits = List.of(new SharedRate(own), rate, total);
    this.window = new Window(options.depth(), point.map().blockSize(), buffers.bufferSize());
    this.passes =
        new PassCycle(
            this,
            plan,
            point,
            options,
            scheduler,
            counters,
            window,
            owner -> new Pump(owner, point, buffers, limits, scheduler, counters));
    this.forecast = passes.forecast();
    forecast.limitedBy(() ->
        limits.stream()
            .mapToLong(SharedRate::bytesPerSecond)
            .filter(limit -> limit > 0)
            .min()
            .orElse(0));
    this.verification =
        new Verification(
            this,
            point,
            plan.digests(),
            new Verification.Limits(
                buffers.bufferSize(),
                ANSWER,
                options.timing().fenceDeadline(),
                options.resumeWindow()),
            scheduler);
    if (options.verify().isOfEverything()) {
      point.unverified().keep(Sample.EVERYTHING);
      point.unverified().neverSentToo(plan.digests().isPresent());
    }
    if (plan.comparing()) {
      plan.digests().ifPresent(digests -> point.compare(new Comparison(point, digests, scheduler)));
    }
  }

  /** Changes the disk's own limit; 0 for none. Any thread. */
  void bytesPerSecond(long bytesPerSecond) {
    own.set(bytesPerSecond);
  }

  void start() {
    link.open();
    passes.start();
  }

  // ---- the destination comes and goes

  @Override
  public void attached(boolean again) {
    if (again) {
      window.restart();
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
  public void firstPassBegins(long dirty) {
    if (options.verify() == CopyOptions.Verify.SAMPLED) {
      point
          .unverified()
          .keep(
              Sample.some(
                  name().hashCode() * scheduler.nanoTime(), dirty / point.map().blockSize()));
    }
  }

  @Override
  public void firstPassDone() {
    verification.firstPassDone();
  }

  @Override
  public void knownZeroes(List<Range> gaps) {
    if (options.verify().isOfEverything()) {
      point.unverified().zeroes(gaps);
    }
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

  @Override
  public boolean isDrained() {
    return passes.isDrained();
  }

  // ---- what is verified

  @Override
  public int checks(boolean readsBack) {
    if (!verifies() || passes.isStopped() || job.paused()) {
      return 0;
    }
    if (!readsBack) {
      return CHECKS;
    }
    if (!forecast.firstPassDone()) {
      return 0; // the network is busy enough
    }
    return draining ? passes.depth() : Math.min(READ_BACK, passes.depth());
  }

  @Override
  public @Nullable BlockBackend sourceContent() {
    return passes.sourceContent();
  }

  private boolean verifies() {
    return options.verify() != CopyOptions.Verify.NOTHING;
  }

  @Override
  public void caughtUp() {
    scheduler.execute(job::evaluate);
  }

  /** Completes when nothing of a drained disk is left to be verified. */
  CompletableFuture<Void> verified() {
    if (!verifies()) {
      return CompletableFuture.completedFuture(null);
    }
    CompletableFuture<Void> all = verification.all();
    return options.verify() == CopyOptions.Verify.PAUSED
        ? all.thenCompose(done -> {
          if (!isDrained()) {
            return CompletableFuture.completedFuture(null); // nobody waits any longer
          }
          point.unverified().readAll(plan.source().isWhole());
          return verification.all();
        })
        : all;
  }

  /**
   * What was sent before the switch is to be verified before it, so that the guest need not wait.
   */
  private boolean mayPause() {
    return !verifies() || verification.isCaughtUp();
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

  /** How long the guest would be paused for what is left now. */
  Duration downtimeNow() {
    return forecast.downtime(scheduler.nanoTime());
  }

  /** How long it will be paused for the disk; empty while there is no end in sight. */
  Optional<Duration> predictedDowntime() {
    return forecast.expectedDowntime(scheduler.nanoTime()).map(pause -> pause.plus(reading()));
  }

  /** How long comparing all of it in the pause takes, by how long that took until now. */
  private Duration reading() {
    long verified = verification.verified();
    if (options.verify() != CopyOptions.Verify.PAUSED || verified == 0) {
      return Duration.ZERO;
    }
    double each = (double) verification.took().toNanos() / verified;
    return Duration.ofNanos((long) (each * plan.source().size()));
  }

  /** What the disk counts in the progress of the whole job. */
  long weight() {
    return forecast.weight();
  }

  double progress() {
    return passes.isDrained() ? 0.99 : forecast.progress();
  }

  /** Bytes to be sent or verified. */
  long leftToDo() {
    return passes.left() + verification.left();
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
        counters.saved,
        passes.left(),
        counters.rate(scheduler.nanoTime()),
        counters.dirtyRate,
        passes.depth(),
        window.requestSize(),
        counters.bottleneck(passes.depth(), link.times()),
        counters.waits(link.times()),
        passes.mirroring().snapshot(),
        new CopySnapshot.Proof(
            options.verify(),
            verification.verified() + (verifies() ? counters.saved : 0),
            verification.left(),
            verification.took()),
        counters.passes());
  }
}
