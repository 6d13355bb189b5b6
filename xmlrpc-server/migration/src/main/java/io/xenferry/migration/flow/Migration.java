package io.xenferry.migration.flow;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.MemoryProgress;
import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.PeerStanding;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One row of the ledger at work. Confined to the coordinator's scheduler, {@link #status} apart.
 *
 * <p>The one way from state to state is {@link #move}: the ledger first, then the new stage. When
 * the ledger cannot be written, on a full disk for one, nothing more happens, since what is durable
 * is then unknown. It is read again after a while, and the row is taken up as it would be by a
 * server that is started anew, until that succeeds.
 */
public abstract sealed class Migration permits SourceMigration, DestinationMigration {
  private static final Logger LOG = LoggerFactory.getLogger(Migration.class);

  private final Host host;
  private final Plan plan;
  private LedgerRow row;
  private @Nullable Stage stage;
  private boolean stalled;

  /** An operator has said that the peer will not come back. */
  private boolean releasedBefore;

  /** What came to an end when the ledger failed, and has not been told so. */
  private @Nullable Stage interrupted;

  /** Of this server, why a row is taken up. */
  private String interruption = "could not write its ledger";

  /** The row is as a server before this one left it, none of whose work is under way any more. */
  private boolean ofAnotherServer;

  private String phase = "";
  private final PhaseTimes times = new PhaseTimes();
  private double progress;
  private final Effects effects = new Effects(this);
  private Optional<MigrationStatus.Waiting> waiting = Optional.empty();
  private Optional<PeerStanding> seen = Optional.empty();
  private volatile MigrationStatus status;

  Migration(Host host, LedgerRow row) {
    this.host = host;
    this.row = row;
    this.plan = StrictJson.read(row.plan(), Plan.class);
    this.status = describe();
  }

  public final MigrationId id() {
    return row.migration();
  }

  public final Role role() {
    return row.role();
  }

  public final LedgerRow row() {
    return row;
  }

  /** The last published status; from any thread. */
  public final MigrationStatus status() {
    return status;
  }

  /** Whether nothing is left to do. */
  public final boolean ended() {
    return row.ended();
  }

  /** Takes the row up where a server before this one left it. */
  public final void takeUp() {
    interruption = "was restarted";
    ofAnotherServer = true;
    takeUpInDoubt();
  }

  /** Takes up a row of which this server did not know whether it was written. */
  public final void takeUpInDoubt() {
    try {
      recover();
    } catch (LedgerException e) {
      stall(e);
    }
  }

  /** Whether no server before this one had anything to do with it. */
  final boolean begunHere() {
    return !ofAnotherServer;
  }

  /** Whether what a server before this one had begun may simply go on. */
  boolean mayGoOn() {
    return ofAnotherServer;
  }

  /** Begins in the row's state, not knowing what came of what was under way. */
  abstract void recover();

  /** Of this server, what is to blame when a row that is taken up cannot go on. */
  final String interruption() {
    return interruption;
  }

  /** An authenticated message of the peer. */
  public final CompletableFuture<PeerAnswer> on(PeerMessage message) {
    Stage current = stage;
    if (stalled || current == null) {
      return CompletableFuture.completedFuture(
          refusal("this host cannot act on its ledger at present"));
    }
    heard(message);
    try {
      return current.on(message);
    } catch (LedgerException e) {
      stall(e);
      return CompletableFuture.completedFuture(refusal("this host cannot write its ledger"));
    }
  }

  /** See {@link Stage#cancel}. */
  public final void cancel() {
    decide(Stage::cancel);
  }

  /** See {@link Stage#steer}. */
  public final void steer(Steering.Change change) {
    decide(current -> current.steer(change));
  }

  /** See {@link Stage#force}. */
  public final void force(String operator) {
    decide(current -> current.force(operator));
  }

  private void decide(Consumer<Stage> decision) {
    Stage current = stage;
    if (stalled || current == null) {
      throw new MigrationException(
          "OPERATION_NOT_ALLOWED",
          List.of("This host cannot act on its ledger at present."),
          "the migration is stalled");
    }
    try {
      decision.accept(current);
    } catch (LedgerException e) {
      stall(e);
      throw e;
    }
  }

  /**
   * An operator ends what the peer is waited for, since that will not come back. What this side has
   * to do by itself it still does, and then the row ends. Of one where that has been said before,
   * or that was forced, or put back from a copy, this is given up too: the row ends at once, and
   * nothing more is deleted.
   *
   * @return completes when that is durable; fails when the row cannot be given up as it is
   * @throws MigrationException unless it is an outcome
   */
  public final CompletableFuture<Void> release(AuditRow audit) {
    if (!row.state().outcome()) {
      throw new MigrationException(
          "OPERATION_NOT_ALLOWED",
          List.of("The migration is " + row.state() + ": only an outcome can be released."),
          "release in " + row.state());
    }
    Stage current = stage;
    if (current == null || row.forced() || row.doubtful() || releasedBefore) {
      return (current == null ? CompletableFuture.<Void>completedFuture(null) : current.giveUp())
          .thenRunAsync(() -> endReleased(audit), host.scheduler());
    }
    releasedBefore = true;
    row = host.ledger().update(row, row.withSettled(), audit);
    publish();
    settleIf(row.state());
    if (row.ended()) {
      released();
    }
    return CompletableFuture.completedFuture(null);
  }

  private void endReleased(AuditRow audit) {
    row = host.ledger().update(row, row.withCleaned().withSettled(), audit);
    settleIf(row.state());
    released();
  }

  /** The row has ended, whatever is left to do. */
  void released() {}

  final Host host() {
    return host;
  }

  public final Plan plan() {
    return plan;
  }

  final @Nullable Stage stage() {
    return stage;
  }

  final Effects effects() {
    return effects;
  }

  final PeerAddress peer() {
    return new PeerAddress(row.peerUrl(), row.peerFingerprint());
  }

  /** Hears of every authenticated message. */
  void heard(PeerMessage message) {}

  /** Hears of every answer to a question that is repeated. */
  void answeredBy(PeerAnswer answer) {}

  List<DiskProgress> disks() {
    return List.of();
  }

  MemoryProgress memory() {
    return MemoryProgress.NONE;
  }

  Optional<Duration> downtime() {
    return Optional.empty();
  }

  Optional<Steering> steering() {
    return Optional.empty();
  }

  /** Begins in the row's present state. */
  final void begin(Stage first, boolean recovered) {
    if (first.state() != row.state()) {
      throw new IllegalStateException(first.state() + " for a row in " + row.state());
    }
    stage = first;
    progress(share(first.state()));
    enter(first.state().phase());
    publish();
    first.enter(recovered);
  }

  /** To another state: durable first, then the new stage. */
  final void move(Stage next, UnaryOperator<LedgerRow> with) {
    Stage old = stage;
    row = host.ledger().update(row, with.apply(row.withState(next.state())));
    moved(old, next);
  }

  final void move(Stage next, UnaryOperator<LedgerRow> with, AuditRow audit) {
    Stage old = stage;
    row = host.ledger().update(row, with.apply(row.withState(next.state())), audit);
    moved(old, next);
  }

  final void move(Stage next) {
    move(next, UnaryOperator.identity());
  }

  private void moved(@Nullable Stage old, Stage next) {
    stage = next;
    progress(share(next.state()));
    enter(next.state().phase());
    waiting = Optional.empty();
    seen = Optional.empty();
    if (old != null) {
      old.leave();
    }
    publish();
    next.enter(false);
  }

  /** Notes something in the row without leaving the state. */
  final void note(UnaryOperator<LedgerRow> with) {
    LedgerRow next = with.apply(row);
    if (!next.equals(row)) {
      row = host.ledger().update(row, next);
      publish();
    }
  }

  final AuditRow audit(String operator, String action, String statement) {
    return new AuditRow(host.scheduler().now(), operator, action, id().toString(), statement);
  }

  final void phase(String words) {
    enter(words);
    publish();
  }

  private void enter(String words) {
    phase = words;
    times.become(words, host.scheduler().nanoTime());
  }

  /**
   * What clients have been told of the progress by a server before this one; see {@link #progress}.
   */
  public final void shown(double before) {
    progress(before);
  }

  /**
   * What of a move has been done when it comes to a state, also at a server that is started anew:
   * the part that does not depend on how much there was to send. Of a destination that undoes what
   * it had begun nothing is to come.
   */
  private static double share(State state) {
    return switch (state) {
      case OWNED, SENDING -> 0;
      case RECEIVING -> 0.05;
      case SWITCHING -> 0.95;
      case READY -> 0.97;
      case COMMITTING, COMMITTED, STARTING -> 0.98;
      case GIVEN -> 0.99;
      case RUNNING, ABORTED, RETURNED -> 1;
    };
  }

  /** Progress, 0 to 1; lower values than before are ignored. */
  final void progress(double value) {
    progress = Math.max(progress, Math.min(1, value));
  }

  final void waiting(MigrationStatus.Waiting asked) {
    waiting = Optional.of(asked);
    publish();
  }

  final void answered() {
    waiting = Optional.empty();
  }

  /** How the other server stands; until the stage ends. Logged when it has become another. */
  final void peerSeen(String who, PeerStanding standing) {
    PeerStanding.Kind before = seen.map(PeerStanding::kind).orElse(PeerStanding.Kind.ANSWERS);
    seen = Optional.of(standing);
    if (standing.kind() != before) {
      switch (standing.kind()) {
        case ANSWERS -> LOG.info("{}: {} answers in time again", row, who);
        case SLOW -> LOG.info("{}: {} is {}", row, who, standing.words());
        case LOST -> LOG.warn("{}: {} is {}", row, who, standing.words());
      }
      publish();
    }
  }

  /** What this side answers, whatever it is asked: its state, and why it came to that. */
  final PeerAnswer answer() {
    return PeerAnswer.of(host.ledger().incarnation(), row.state(), row.forced(), row.ended())
        .saying(row.outcome().orElse(""));
  }

  final PeerAnswer refusal(String sentence) {
    return answer().refusing("VM_MIGRATE_FAILED", List.of(row.vm().toString(), sentence), sentence);
  }

  /** Runs work of a stage if it still lasts; a ledger that fails stops the migration here. */
  final void guarded(Stage owner, Runnable work) {
    if (stalled || !owner.active()) {
      return;
    }
    try {
      work.run();
    } catch (RuntimeException e) {
      stall(e);
    }
  }

  final MigrationException failure(String sentence) {
    return new MigrationException(
        "VM_MIGRATE_FAILED", List.of(row.vm().toString(), sentence), sentence);
  }

  final MigrationException failure(String what, Throwable cause) {
    if (cause instanceof MigrationException named) {
      return named;
    }
    String sentence = what + ": " + Effects.words(cause);
    return new MigrationException(
        "VM_MIGRATE_FAILED", List.of(row.vm().toString(), sentence), sentence, cause);
  }

  /** What is durable, or what this class took for granted, is not as it should be: stop here. */
  private void stall(RuntimeException e) {
    stall(e, 0);
  }

  private void stall(RuntimeException e, int attempt) {
    stalled = true;
    if (!(e instanceof LedgerException)) {
      LOG.error("{}: nothing more is done before a restart", row, e);
      phase("stalled until the server is started anew: " + e.getMessage());
      return;
    }
    if (attempt == 0) {
      LOG.error("{}: nothing more is done until the ledger can be written", row, e);
    }
    if (stage != null) {
      interrupted = stage;
      stage = null; // what it still has under way is not heard
    }
    phase("stalled until the ledger can be written: " + e.getMessage());
    tryAgain(attempt);
  }

  private void tryAgain(int attempt) {
    host.scheduler()
        .schedule(
            effects.backOff(attempt),
            () -> {
              if (!effects.quiet() && !mayBeTakenBack()) {
                tryAgain(attempt + 1); // what is under way must not run beside the same once more
              } else {
                unstall(attempt + 1);
              }
            });
  }

  /** Whether a row that is taken up is given up, and its clean-up waits for what is under way. */
  private boolean mayBeTakenBack() {
    return switch (row.state()) {
      case SENDING, SWITCHING, RECEIVING -> true;
      default -> false;
    };
  }

  private void unstall(int attempt) {
    try {
      row =
          host.ledger()
              .find(id(), role())
              .orElseThrow(() -> new LedgerException("the row of " + id() + " is gone"));
      stalled = false;
      interruption = "could not write its ledger";
      ofAnotherServer = false;
      Stage before = interrupted;
      interrupted = null;
      if (before != null) {
        before.leave();
      }
      LOG.info("{}: taken up again", row);
      recover();
    } catch (LedgerException e) {
      stall(e, attempt);
    }
  }

  final void publish() {
    status = describe();
    host.listener().changed(status);
  }

  private MigrationStatus describe() {
    MemoryProgress memory = memory();
    return new MigrationStatus(
        row.migration(),
        row.role(),
        row.vm(),
        row.state(),
        phase,
        progress,
        disks(),
        times.at(host.scheduler().nanoTime()),
        memory.sent(),
        row.ended() ? 0 : memory.remaining(),
        waiting,
        row.ended() ? Optional.empty() : seen,
        downtime(),
        row.ended() ? Optional.empty() : steering(),
        row.outcome(),
        row.forced(),
        row.ended(),
        row.created(),
        row.updated());
  }

  /** Ends the row when both sides are done with it. */
  final void settleIf(State outcome) {
    if (row.state() == outcome && row.ended()) {
      times.end(host.scheduler().nanoTime());
      phase = "ended";
      stage = null;
      publish();
    }
  }
}
