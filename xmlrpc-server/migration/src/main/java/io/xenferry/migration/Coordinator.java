package io.xenferry.migration;

import io.xenferry.migration.flow.Host;
import io.xenferry.migration.flow.Migration;
import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.peer.PeerEndpoint;
import io.xenferry.migration.peer.PeerTransport;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.peer.TokenMint;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationListener;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Randomness;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.time.Scheduler;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;

/**
 * Migrations on one host, in both roles.
 *
 * <p>How one runs, S the source and D the destination:
 *
 * <ol>
 *   <li>S writes SENDING and opens; D writes RECEIVING, creates and exports the disks.
 *   <li>S copies until the disks converge, then sends the memory until the guest may be paused.
 *   <li>The guest is paused; S writes SWITCHING, sends the last blocks; D closes the exports; S
 *       sends the rest of the memory; D activates the disks and writes READY.
 *   <li>S writes COMMITTING and commits. From here only D's record decides.
 *   <li>D writes COMMITTED, STARTING, runs the guest, writes RUNNING.
 *   <li>S writes GIVEN, removes what is left, and acknowledges until D has nothing left to say.
 * </ol>
 *
 * <p>Create one per server, call {@link #recover} first; messages are put off until then. Methods
 * may be called on any thread; everything happens on the scheduler.
 */
public final class Coordinator {
  private final Host host;
  private final Ledger ledger;
  private final String hostUuid;
  private final Scheduler scheduler;
  private final TokenMint mint;
  private final PeerEndpoint endpoint;
  private final Roster roster;
  private final List<MigrationListener> listeners = new CopyOnWriteArrayList<>();

  /** Confined to the scheduler. */
  private ToDoubleFunction<LedgerRow> shown = row -> 0;

  /**
   * @param hostUuid of the XenAPI host, named in tokens
   * @param self how peers reach this server unless a token says otherwise
   * @param boot names this boot of the host; the gate must have the same
   */
  public Coordinator(
      Scheduler scheduler,
      Ledger ledger,
      Gate gate,
      Randomness random,
      Deadlines deadlines,
      SourcePorts source,
      DestinationPorts destination,
      PeerTransport transport,
      String hostUuid,
      PeerAddress self,
      String boot) {
    this.scheduler = scheduler;
    this.ledger = ledger;
    this.hostUuid = hostUuid;
    this.host =
        new Host(
            scheduler,
            ledger,
            gate,
            random,
            deadlines,
            source,
            destination,
            new PeerClient(transport),
            self,
            boot,
            status -> listeners.forEach(listener -> listener.changed(status)));
    this.mint = new TokenMint(ledger.secret(), ledger.incarnation(), hostUuid, self);
    this.roster = new Roster(host);
    this.endpoint = new PeerEndpoint(new IncomingMessages(host, roster), mint);
    gate.explainWith(this::status);
  }

  /** What the server mounts at {@code /v1/incoming} and {@code /v1/outgoing}. */
  public PeerEndpoint endpoint() {
    return endpoint;
  }

  /**
   * Issues a token for one migration to this host; leaves nothing behind.
   *
   * @param url how the source shall reach this server
   */
  public String issueToken(List<String> scope, String url) {
    return mint.issue(
        new MigrationId(host.random().uuid()),
        scope,
        url,
        scheduler.now(),
        host.deadlines().tokenLife());
  }

  /** Whether a token is of this host, in this or an earlier incarnation of its ledger. */
  public boolean issued(String token) {
    try {
      return Token.read(token).host().equals(hostUuid);
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** Told of every change, on the scheduler. */
  public AutoCloseable listen(MigrationListener listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  /**
   * Takes up every unended row of the ledger. With a restored ledger nothing is done until {@link
   * #acceptRestoredLedger}: what it says may be old.
   *
   * @param shown the progress, 0 to 1, below which that of a migration from here does not fall:
   *     what clients have been told by a server before this one
   */
  public CompletableFuture<Void> recover(ToDoubleFunction<LedgerRow> shown) {
    return call(() -> {
      this.shown = shown;
      if (!ledger.restored()) {
        roster.takeUp(shown);
      }
      return null;
    });
  }

  /** An operator states that no VM of this host runs elsewhere. */
  public CompletableFuture<Void> acceptRestoredLedger(String operator) {
    return call(() -> {
      if (ledger.restored()) {
        ledger.acceptRestored(
            new AuditRow(
                scheduler.now(),
                operator,
                "accept-restored-ledger",
                ledger.incarnation().toString(),
                "the operator states that no VM of this host runs elsewhere"));
        roster.takeUp(shown);
      }
      return null;
    });
  }

  /**
   * Gathers what {@link #start} would meet: looks at this host's ledger, and asks the destination
   * whether it could take the VM. Begins nothing anywhere; the token stays good.
   *
   * @return every obstacle, those of this host first; of the destination with its own codes;
   *     CANNOT_CONTACT_HOST, TLS_CONNECTION_FAILED or VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED when
   *     it cannot be asked
   */
  public CompletableFuture<List<Obstacle>> survey(MoveRequest request) {
    return call(() -> Preflight.survey(host, roster.takenUp(), request))
        .thenCompose(Function.identity());
  }

  /**
   * The same for a move that is about to begin.
   *
   * @return fails with a {@link MigrationException} that names the first obstacle
   */
  public CompletableFuture<Void> check(MoveRequest request) {
    return survey(request).thenAccept(Survey::refuse);
  }

  /**
   * Asks the destination whether it has a place for one more move, which it then keeps for half a
   * minute.
   *
   * @return what is to be waited for, in words; empty when the move may {@link #start}. Fails with
   *     a {@link MigrationException} where waiting is of no use
   */
  public CompletableFuture<Optional<String>> turn(MoveRequest request) {
    return call(() -> usable(request)).thenCompose(token -> Turn.ask(host, token, request));
  }

  /**
   * Starts a migration at the source.
   *
   * @return completes when SENDING is durable, with what then completes when the VM is the
   *     destination's, or fails with a {@link MigrationException} when it stays and runs here;
   *     fails itself with one when the migration cannot begin. While nobody knows whether the
   *     ledger has its first row it does neither: a server after this one would go on with that
   */
  public CompletableFuture<Started> start(MoveRequest request) {
    return call(() -> begin(request))
        .exceptionallyCompose(failure ->
            settled(failure).thenCompose(done -> CompletableFuture.failedFuture(failure)));
  }

  private static CompletableFuture<Void> settled(Throwable failure) {
    return failure instanceof BeginningInDoubtException doubt
        ? doubt.settled()
        : CompletableFuture.completedFuture(null);
  }

  /**
   * Which migration a request would begin, as its token says.
   *
   * @throws MigrationException for what is no token
   */
  public MigrationId migrationOf(MoveRequest request) {
    return Refusals.token(request).id();
  }

  /**
   * How a migration from here comes out, see {@link SourceMigration#outcome}; also of one that a
   * server before this one began. Any thread.
   *
   * @return failed with OPERATION_NOT_ALLOWED for one that this host does not know
   */
  public CompletableFuture<MigrationStatus> outcome(MigrationId migration) {
    if (roster.find(migration, Role.SOURCE).orElse(null) instanceof SourceMigration known) {
      return known.outcome().copy();
    }
    Optional<LedgerRow> row = ledger.find(migration, Role.SOURCE);
    if (row.isEmpty()) {
      return CompletableFuture.failedFuture(
          Refusals.notAllowed("migration " + migration + " is unknown on this host"));
    }
    return row.get().state() == State.GIVEN
        ? CompletableFuture.completedFuture(told(row.get()))
        : CompletableFuture.failedFuture(
            Refusals.failed(row.get().vm(), row.get().outcome().orElse("the VM stays here")));
  }

  /** A migration that has begun. */
  public record Started(MigrationId migration, CompletableFuture<MigrationStatus> outcome) {}

  private Token usable(MoveRequest request) {
    UUID vm = request.plan().vm();
    if (!roster.takenUp()) {
      Refusals.refuseNotTakenUp();
    }
    Token token = Refusals.token(request);
    Refusals.requireUsable(token, vm, scheduler.now());
    return token;
  }

  private Started begin(MoveRequest request) {
    Token token = usable(request);
    PeerAddress peer = token.address();
    LedgerRow row =
        new LedgerRow(
            token.id(),
            Role.SOURCE,
            request.plan().vm(),
            State.SENDING,
            peer.url(),
            peer.fingerprint(),
            token.incarnation(),
            HexFormat.of().formatHex(host.random().bytes(32)),
            request.token(),
            StrictJson.text(request.plan()),
            request.metadata(),
            Optional.empty(),
            false,
            false,
            false,
            false,
            host.boot(),
            scheduler.now(),
            scheduler.now(),
            token.expiry(),
            0);
    SourceMigration migration = roster.beginSource(row);
    migration.start();
    return new Started(row.migration(), migration.outcome());
  }

  /**
   * Cancels: the VM stays at, or goes back to, the source. Completes when that is durable; fails
   * with OPERATION_NOT_ALLOWED from COMMITTING on.
   */
  public CompletableFuture<Void> cancel(MigrationId migration, Role role) {
    return call(() -> {
      find(migration, role).cancel();
      return null;
    });
  }

  /**
   * Carries the move on otherwise: until the guest is being stopped, and at the source only.
   * Durable when the result completes.
   *
   * @return fails with OPERATION_NOT_ALLOWED when it is too late
   */
  public CompletableFuture<Void> steer(MigrationId migration, Role role, Steering.Change change) {
    return call(() -> {
      find(migration, role).steer(change);
      return null;
    });
  }

  /** An operator states at the destination that the source is powered off. Audited. */
  public CompletableFuture<Void> forceCommit(MigrationId migration, String operator) {
    return call(() -> {
      find(migration, Role.DESTINATION).force(operator);
      return null;
    });
  }

  /** An operator states at the source that the destination is powered off. Audited. */
  public CompletableFuture<Void> forceResume(MigrationId migration, String operator) {
    return call(() -> {
      find(migration, Role.SOURCE).force(operator);
      return null;
    });
  }

  /**
   * An operator ends a row whose peer will never answer, see {@link Migration#release}. Audited.
   */
  public CompletableFuture<Void> release(MigrationId migration, Role role, String operator) {
    return call(() ->
            find(migration, role)
                .release(
                    new AuditRow(
                        scheduler.now(),
                        operator,
                        "release",
                        migration.toString(),
                        "the operator states that the peer will not come back")))
        .thenCompose(released -> released);
  }

  /** Forgets the ended migrations whose time is up; to be called now and then. */
  public void purge() {
    scheduler.execute(roster::purge);
  }

  /** What is known of a migration: from memory, else from the ledger. */
  public Optional<MigrationStatus> status(MigrationId migration, Role role) {
    return roster
        .find(migration, role)
        .map(Migration::status)
        .or(() -> ledger.find(migration, role).map(Coordinator::told));
  }

  /** All that the ledger still holds, oldest first. */
  public List<MigrationStatus> statuses() {
    List<MigrationStatus> all = new ArrayList<>();
    for (LedgerRow row : ledger.rows()) {
      status(row.migration(), row.role()).ifPresent(all::add);
    }
    all.sort(Comparator.comparing(MigrationStatus::started));
    return all;
  }

  /**
   * What is planned of the moves from here that are under way, whichever server has begun them: of
   * those that are not decided yet. Any thread, from memory.
   */
  public Map<MigrationId, Plan> leaving() {
    return roster.leaving();
  }

  private static MigrationStatus told(LedgerRow row) {
    return new MigrationStatus(
        row.migration(),
        row.role(),
        row.vm(),
        row.state(),
        row.ended() ? "ended" : "not taken up",
        row.ended() ? 1 : 0,
        List.of(),
        new LinkedHashMap<>(),
        0,
        0,
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        row.outcome(),
        row.forced(),
        row.ended(),
        row.created(),
        row.updated());
  }

  private Migration find(MigrationId migration, Role role) {
    return roster
        .find(migration, role)
        .filter(found -> !found.ended())
        .orElseThrow(() ->
            Refusals.notAllowed("migration " + migration + " is not in progress on this host"));
  }

  private <T extends @org.jspecify.annotations.Nullable Object> CompletableFuture<T> call(
      Supplier<T> work) {
    CompletableFuture<T> done = new CompletableFuture<>();
    scheduler.execute(() -> {
      try {
        done.complete(work.get());
      } catch (RuntimeException e) {
        done.completeExceptionally(e);
      }
    });
    return done;
  }
}
