package io.xenferry.migration.flow;

import io.xenferry.copy.CopyException;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryProgress;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The source's side of one migration. */
public final class SourceMigration extends Migration {
  /** Of the whole, by then; {@link Switching} goes on from there. */
  private static final double BEFORE_THE_SWITCH = 0.95;

  /** How long a copy takes, and a guest lives, nobody knows. */
  static final Duration UNBOUNDED = Duration.ofDays(3650);

  private static final String SR_FULL = "SR_FULL";

  /** The phase of a row that ends only when its guest is past shutting down, minutes later. */
  public static final String WATCHING =
      "watching whether the guest still shuts down, as it was told to";

  /** Of a hurried switch's deadline the last blocks may take one part in so many, at most. */
  private static final int HURRIED = 2;

  private static final Logger LOG = LoggerFactory.getLogger(SourceMigration.class);

  private final CompletableFuture<MigrationStatus> outcome = new CompletableFuture<>();
  private @Nullable CopyJob job;
  private @Nullable MigrationException failure;
  private long pausedAt;
  private boolean paused;
  private Optional<Duration> downtime = Optional.empty();
  private List<DiskProgress> lastDisks = List.of();
  private MemoryProgress lastMemory = MemoryProgress.NONE;
  private @Nullable Pulse pulse;
  private boolean peerAway;
  private boolean copyPaused;
  private boolean deaf;

  /** What asks the guest to shut down, from the first time on. */
  private CompletableFuture<Void> asking = CompletableFuture.completedFuture(null);

  private Steering steering;

  public SourceMigration(Host host, LedgerRow row) {
    super(host, row);
    steering = row.steering().isEmpty() ? Steering.of(plan()) : Steering.parse(row.steering());
  }

  /**
   * Completes once the VM is the destination's and shown there as it is, or with a {@link
   * MigrationException} once it is the source's again and, if it ran, runs. A destination that runs
   * the VM and then goes silent, or a clean-up here that does not come to its end, delays the first
   * by one {@link io.xenferry.migration.state.Deadlines#step} at most.
   */
  public CompletableFuture<MigrationStatus> outcome() {
    return outcome;
  }

  /** Nobody waits any longer for what is not done now. */
  @Override
  void released() {
    if (row().state() == State.GIVEN) {
      outcome().complete(status());
    } else {
      outcome()
          .completeExceptionally(
              failure(row().outcome().orElse("an operator ended what was left of it")));
    }
  }

  public void start() {
    begin(new Sending(this), false);
  }

  @Override
  void recover() {
    switch (row().state()) {
      case SENDING -> {
        if (!mayGoOn()) {
          failure = interrupted();
        }
        begin(new Sending(this), true);
      }
      case SWITCHING -> {
        failure = interrupted();
        begin(new Switching(this), true);
      }
      case COMMITTING -> begin(new Committing(this), true);
      case GIVEN -> begin(new Given(this), true);
      case OWNED -> begin(new Owned(this), true);
      case RECEIVING, READY, COMMITTED, STARTING, RUNNING, ABORTED, RETURNED ->
          throw new IllegalStateException("not the source's: " + row());
    }
  }

  /**
   * A copy by snapshots does not outlive its server, and a ledger that was put back is in doubt.
   */
  @Override
  boolean mayGoOn() {
    return super.mayGoOn()
        && !row().doubtful()
        && plan().disks().stream().noneMatch(disk -> disk.strategy().equals("snapshot"));
  }

  MigrationException interrupted() {
    return failure("the source's server " + interruption() + " during the migration");
  }

  @Override
  List<DiskProgress> disks() {
    return lastDisks == null ? List.of() : lastDisks;
  }

  @Override
  MemoryProgress memory() {
    return lastMemory == null ? MemoryProgress.NONE : lastMemory;
  }

  @Override
  Optional<Duration> downtime() {
    return downtime == null ? Optional.empty() : downtime;
  }

  @Override
  Optional<Steering> steering() {
    return row().state() == State.SENDING || row().state() == State.SWITCHING
        ? Optional.ofNullable(steering)
        : Optional.empty();
  }

  /** Whether the guest must not be stopped yet. */
  boolean holds() {
    return steering.holds(host().scheduler().now());
  }

  /** The plan with what an operator has changed since; not what is durable. */
  Plan steered() {
    return steering.applied(plan(), host().deadlines().switchOver().dividedBy(HURRIED));
  }

  /** What an operator wants otherwise: also after a restart, so durable first. */
  void change(Steering next) {
    note(row -> row.withSteering(next.text()));
    steer(next);
  }

  /** The guest of a warm move is about to be told to shut down, which nobody can take back. */
  void guestToldToStop() {
    change(steering.nowStopping());
  }

  /** Whether the guest's end is this migration's doing. */
  boolean toldToStop() {
    return steering.stopping();
  }

  /** The guest is being asked to shut down. */
  CompletableFuture<Void> asked(CompletableFuture<Void> request) {
    asking = CompletableFuture.allOf(asking, request);
    return request;
  }

  /** Whether a request to shut down may reach the guest only now, as a boot does not undo. */
  boolean mayStillBeAsked() {
    return !asking.isDone();
  }

  /** The guest has had its time, did not shut down, and goes on as one that was not asked. */
  void guestIsDeaf() {
    deaf = true;
  }

  /** Whether a guest that runs was told to shut down, and may not have come to it yet. */
  boolean mayStillShutDown() {
    return toldToStop() && !deaf;
  }

  /**
   * Whether the guest of a row, if it has ended, is booted again by its migration: nobody else
   * deals with its end then.
   */
  public static boolean bootsAgain(LedgerRow row) {
    return row.state() == State.OWNED
        && !row.cleaned()
        && !row.steering().isEmpty()
        && Steering.parse(row.steering()).stopping();
  }

  /**
   * The guest, given back, goes on, and nothing that was under way can stop it any more. From now
   * on the gate lets clients pause it, so that is durable: no later look takes it for the switch's
   * doing, nor does a server after this one.
   */
  void guestLetGo() {
    if (!letGo()) {
      note(row -> row.withSteering(steering.nowLetGo().text()));
    }
  }

  /** Whether the guest is not to be resumed, nor the sending of its memory ended, any more. */
  boolean letGo() {
    return row().letGo();
  }

  /** From now on, also for the copy. */
  private void steer(Steering next) {
    steering = next;
    CopyJob running = job;
    if (running != null) {
      running.adjust(steered());
      running.holdSwitch(holds());
      pauseCopy();
    }
    publish();
  }

  @Nullable CopyJob job() {
    return job;
  }

  void job(CopyJob started) {
    job = started;
    steer(steering);
  }

  @Nullable MigrationException failed() {
    return failure;
  }

  /** The VM stays here: durable first; the guest goes on in {@link Owned}. Says so, and why. */
  void backToOwned(MigrationException cause) {
    backToOwned(cause, staying());
  }

  /** The same for a VM that is not as the plan has it. */
  void backToOwnedAsItIs(MigrationException cause) {
    backToOwned(cause, "the VM stays at the source");
  }

  private void backToOwned(MigrationException cause, String where) {
    MigrationException told = cause.saying(where);
    failure = told;
    move(new Owned(this), row -> row.withOutcome(String.valueOf(told.getMessage())));
  }

  /** What becomes of the VM; its guest, if the switch has stopped it, goes on next. */
  private String staying() {
    if (row().doubtful()) {
      return "the VM stays at the source";
    }
    if (!plan().running()) {
      return "the VM stays at the source as it was; nothing was changed";
    }
    return mayStillShutDown()
        ? "the VM stays at the source, and boots there again if it has shut down"
        : "the VM still runs at the source; nothing was changed";
  }

  /** A guest that ends has nothing left to be moved: whoever ended it, that is why. */
  CompletableFuture<GuestState> watchGuest(Stage owner) {
    return watchGuest(owner, seen -> false);
  }

  /**
   * @param awaited whether its end is as the move wants it
   */
  CompletableFuture<GuestState> watchGuest(Stage owner, Predicate<GuestState> awaited) {
    CompletableFuture<GuestState> ended = host().source().guests().ended(plan().vm());
    owner.hear(
        "the guest's end",
        UNBOUNDED,
        () -> ended,
        seen -> {
          if (!awaited.test(seen)) {
            backToOwnedAsItIs(stopped(seen));
          }
        },
        // The stage has means of its own to notice; the sentence is then less exact.
        failure -> LOG.warn("{}: the guest is not watched", row(), failure));
    return ended;
  }

  /**
   * Something failed while the guest should have been running: says that the guest had ended, if
   * so. It is asked without being waited for by a clean-up, and its answer counts only while the
   * stage lasts: a cancel may come meanwhile.
   */
  void failed(Stage owner, String what, Throwable cause) {
    if (!plan().running()) {
      blame(owner, what, cause);
      return;
    }
    owner.hear(
        "looking after the guest",
        () -> host().source().guests().observe(plan().vm()),
        seen -> {
          if (seen.ended() && !(toldToStop() && seen == GuestState.SHUTDOWN)) {
            backToOwnedAsItIs(stopped(seen));
          } else {
            blame(owner, what, cause);
          }
        },
        unseen -> blame(owner, what, cause));
  }

  /**
   * A destination whose writes fail may be full, which targets tell in several ways, and some not
   * at all: it is asked, unless the guest stands still for it.
   */
  private void blame(Stage owner, String what, Throwable cause) {
    boolean mayBeFull =
        cause instanceof CopyException copy
            && (copy.kind() == CopyException.Kind.DESTINATION_FULL
                || copy.kind() == CopyException.Kind.DESTINATION_IO);
    if (!mayBeFull || paused) {
      backToOwned(failure(what, cause));
      return;
    }
    owner.hear(
        "asking whether the destination is full",
        host().deadlines().message(),
        () ->
            host()
                .peers()
                .send(
                    peer(),
                    id(),
                    row().token(),
                    row().key(),
                    new PeerMessage.Room(),
                    host().deadlines().message()),
        answer -> backToOwned(answer.code().equals(SR_FULL) ? full(answer) : failure(what, cause)),
        failed -> backToOwned(failure(what, cause)));
  }

  private static MigrationException full(PeerAnswer answer) {
    return new MigrationException(
        SR_FULL,
        answer.params(),
        "the destination's SR has filled up: bytes to come and bytes free are " + answer.params());
  }

  /** Why a guest that was running is not moved. */
  MigrationException stopped(GuestState seen) {
    if (!row().boot().equals(host().boot())) {
      return failure("this host was restarted, which has ended the guest");
    }
    return failure(
        seen == GuestState.SHUTDOWN
            ? "the guest shut down while it was being moved"
            : "the guest stopped while it was being moved, by a forced shutdown or a crash");
  }

  void guestPaused() {
    paused = true;
    pausedAt = host().scheduler().nanoTime();
  }

  void guestRuns() {
    if (paused) {
      paused = false;
      downtime = Optional.of(Duration.ofNanos(host().scheduler().nanoTime() - pausedAt));
      publish();
    }
  }

  /** Reads the statistics, and repeats while the stage lasts. */
  void watchProgress(Stage owner) {
    sample();
    progress(BEFORE_THE_SWITCH * done());
    publish();
    owner.after(host().deadlines().progress(), () -> watchProgress(owner));
  }

  /** Reads the statistics. */
  void sample() {
    CopyJob running = job;
    if (running != null) {
      lastDisks = List.copyOf(running.progress());
    }
    if (plan().live()) {
      lastMemory = host().source().guests().memoryProgress(plan().vm());
    }
  }

  /**
   * The part of the work that is done, of what is known so far: a disk's blanks cost nothing, and
   * how much memory there is to send shows only once that has begun.
   */
  private double done() {
    double done = 0;
    double all = 0;
    for (DiskProgress disk : lastDisks) {
      long settled = disk.sent() + disk.zero() + disk.saved();
      done += settled;
      all += settled + disk.remaining();
    }
    if (plan().live()) {
      boolean begun = lastMemory.sent() > 0;
      done += lastMemory.sent();
      all += begun ? lastMemory.sent() + lastMemory.remaining() : plan().memoryBytes();
    }
    return all == 0 ? 0 : done / all;
  }

  /** The heartbeat: pauses the copy when the peer is lost, gives up after the resume window. */
  void heartbeat(Stage owner) {
    Pulse learned = pulse;
    if (learned == null) {
      learned = new Pulse(host().deadlines(), host().scheduler().nanoTime());
      pulse = learned;
    }
    new Heartbeat(this, owner, learned).begin();
  }

  /** Whatever it answers, it is there. */
  @Override
  void answeredBy(PeerAnswer answer) {
    if (pulse != null
        && !answer.code().equals(Asking.STILL_BOOTING)
        && answer.incarnation().equals(row().peerIncarnation())) {
      pulse.heard(host().scheduler().nanoTime());
    }
  }

  boolean peerLost() {
    return peerAway;
  }

  void peerAway(boolean away) {
    peerAway = away;
    pauseCopy();
  }

  /** Nothing is sent to a peer that is away, nor when an operator does not want it. */
  private void pauseCopy() {
    boolean pause = peerAway || steering.paused();
    CopyJob running = job;
    if (running != null && pause != copyPaused) {
      copyPaused = pause;
      if (pause) {
        running.pause();
      } else {
        running.resume();
      }
    }
  }
}
