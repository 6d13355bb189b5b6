package io.xenferry.copy;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.copy.Flight.Transfer;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The pass of a disk that is being sent: begun at the source, tried again when that begins none,
 * read by the pump, ended. What its failed requests mean is decided here. Confined to the job's
 * scheduler.
 */
final class RunningPass implements Pump.Owner {
  static final Duration AFTER_FAILURE = Duration.ofMillis(50);

  /**
   * Requests in flight while the guest's writes wait behind them: two keep the destination busy,
   * sixteen make each write of the guest wait for 8 MiB.
   */
  private static final int DEPTH_BESIDE_A_MIRROR = 2;

  /** What it asks of the disk's passes, and tells them. */
  interface Owner {
    /** Whether one is to begin. */
    boolean beginning();

    /** Whether one is being sent now. */
    boolean copying();

    /** Whether the guest stands still, and has nothing to wait for but this. */
    boolean draining();

    /** Whether the guest's writes wait behind what is sent. */
    boolean mirrored();

    /** Whether blocks of zeroes that were never written need not be sent. */
    boolean skipZeroes();

    /** It is time for another attempt to begin one. */
    void beginAgain();

    /** The source has begun one. */
    void begun(SourceDisk.Pass pass);

    /** A transfer has ended, well or not. */
    void transferred();

    /** All that it had was sent. */
    void sentAll();

    void fail(CopyException cause);
  }

  private final Owner owner;
  private final SourceDisk source;
  private final Scheduler scheduler;
  private final Failures failures = new Failures();
  private final Window window;
  private final Yielding yielding;
  private final Pump pump;
  private SourceDisk.@Nullable Pass pass;

  /** The one that the source is beginning; null when there is none. */
  private @Nullable CompletableFuture<SourceDisk.Pass> coming;

  private boolean frozen;
  private boolean sourceLost;
  private boolean stopped;

  RunningPass(
      Owner owner,
      SourceDisk source,
      CopyOptions options,
      Window window,
      Scheduler scheduler,
      Function<Pump.Owner, Pump> pump) {
    this.owner = owner;
    this.source = source;
    this.scheduler = scheduler;
    this.window = window;
    this.yielding = new Yielding(options.depth());
    this.pump = pump.apply(this);
  }

  // ---- begin and end

  /**
   * Asks the source for the next one.
   *
   * @param last whether a guest that stands still waits for it
   */
  void begin(boolean last) {
    frozen = last;
    CompletableFuture<SourceDisk.Pass> next = last ? source.beginLastPass() : source.beginPass();
    coming = next;
    next.whenComplete((begun, failure) ->
        scheduler.execute(() -> {
          if (coming != next) {
            return; // given back
          }
          coming = null;
          if (begun == null) {
            notBegun(failure);
          } else {
            pass = begun;
            sourceLost = false;
            owner.begun(begun);
          }
        }));
  }

  /** The source has begun none, or one of which nothing more can be read. */
  void notBegun(@Nullable Throwable failure) {
    if (!failures.bear()) {
      owner.fail(
          new CopyException(
              CopyException.Kind.SOURCE,
              source.name() + ": the source begins no pass: " + failure));
      return;
    }
    scheduler.schedule(
        AFTER_FAILURE.multipliedBy(failures.count()),
        () -> {
          if (owner.beginning()) {
            owner.beginAgain();
          }
        });
  }

  /** It is marked in the log, and sent from its start. */
  void send() {
    failures.passBegins();
    pump.restart();
  }

  /** All of it was sent; counts once, however often the rest of it is sent afterwards. */
  void sent() {
    failures.passEnds();
  }

  /**
   * Gives the one back that the source is beginning, as soon as it has begun: by then nobody may
   * run what is left to the scheduler.
   *
   * @return completes when it is, or when the source could not begin it
   */
  CompletableFuture<Void> giveBackComing() {
    CompletableFuture<SourceDisk.Pass> next = coming;
    coming = null;
    return next == null
        ? CompletableFuture.completedFuture(null)
        : next.thenCompose(begun -> begun.end(false)).exceptionally(failure -> null);
  }

  /** Takes it out to end it; null when there is none. */
  SourceDisk.@Nullable Pass take() {
    SourceDisk.Pass ended = pass;
    pass = null;
    return ended;
  }

  /** Whether there is one that has not ended. */
  boolean isOpen() {
    return pass != null;
  }

  /** Whether it has what a guest that stands still has left. */
  boolean isLast() {
    return frozen;
  }

  /** The guest writes again: what this pass took is not the last set. */
  void notLast() {
    frozen = false;
  }

  /** Nothing that fails from now on matters, and nothing more is sent. */
  void stop() {
    stopped = true;
    pump.run();
  }

  // ---- what the pump asks and tells

  /** Something changed that may let more be sent. */
  void pump() {
    pump.run();
  }

  /** What could not be sent is sent, from the start of the disk on. */
  void sendAgain() {
    pump.restart();
  }

  /** Where the source can be read, whether or not anything may be sent; null for nowhere. */
  @Nullable BlockBackend readable() {
    SourceDisk.Pass running = pass;
    return running == null || sourceLost ? null : running.content();
  }

  @Override
  public @Nullable BlockBackend content() {
    SourceDisk.Pass running = pass;
    return running == null || !owner.copying() ? null : running.content();
  }

  @Override
  public int depth() {
    if (owner.draining()) {
      return window.depth();
    }
    int beside = owner.mirrored() ? DEPTH_BESIDE_A_MIRROR : window.depth();
    return Math.min(yielding.depth(), Math.min(window.depth(), beside));
  }

  @Override
  public int requestSize() {
    return window.requestSize();
  }

  @Override
  public void hindered() {
    window.hindered();
  }

  @Override
  public boolean sourceLost() {
    return sourceLost;
  }

  @Override
  public boolean skipZeroes() {
    return owner.skipZeroes();
  }

  @Override
  public void sent(Transfer transfer) {
    owner.transferred();
    if (transfer.bytesRead > 0) {
      yielding.read(transfer.readIssued, transfer.readDone, window.depth());
    }
    if (transfer.lost || depth() < window.depth()) {
      window.hindered();
    } else {
      window.arrived(
          transfer.readIssued, scheduler.nanoTime(), transfer.length, transfer.bytesSent);
    }
    if (transfer.sourceFailure != null) {
      sourceFailed(transfer.sourceFailure);
    } else if (transfer.destinationFailure != null && !transfer.lost) {
      destinationRefused(transfer.destinationFailure);
    }
  }

  @Override
  public void idle() {
    owner.sentAll();
  }

  /** A request to the source has failed. */
  void sourceFailed(BlockException failure) {
    if (stopped) {
      return;
    }
    if (!failures.bear()) {
      owner.fail(
          new CopyException(
              CopyException.Kind.SOURCE_READ,
              source.name() + ": the source cannot be read",
              failure));
    } else if (CopyException.isDead(failure.kind())) {
      sourceLost = true;
    } else {
      pump.holdOff(AFTER_FAILURE);
    }
  }

  /** The destination has refused a request, and lives. */
  void destinationRefused(BlockException failure) {
    if (stopped || CopyException.isDead(failure.kind())) {
      return;
    }
    if (failures.bearRefusal(failure)) {
      pump.holdOff(AFTER_FAILURE);
    } else {
      owner.fail(Failures.ending(source.name(), failure));
    }
  }
}
