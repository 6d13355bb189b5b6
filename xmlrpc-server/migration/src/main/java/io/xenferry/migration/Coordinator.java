package io.xenferry.migration;

import io.xenferry.migration.flow.DestinationMigration;
import io.xenferry.migration.flow.Host;
import io.xenferry.migration.flow.Migration;
import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerConflictException;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.peer.PeerEndpoint;
import io.xenferry.migration.peer.PeerHandler;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.peer.PeerTransport;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.peer.TokenMint;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationListener;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Randomness;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Supplier;

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
  /** How much longer than its token a tombstone is kept, for clocks that differ. */
  private static final Duration TOMBSTONE_MARGIN = Duration.ofHours(1);

  private static final int REMEMBERED = 200;

  private final Host host;
  private final Ledger ledger;
  private final Scheduler scheduler;
  private final Gate gate;
  private final TokenMint mint;
  private final PeerEndpoint endpoint;
  private final Map<Key, Migration> migrations = new ConcurrentHashMap<>();
  private final List<MigrationListener> listeners = new CopyOnWriteArrayList<>();
  private boolean recovered;

  private record Key(MigrationId migration, Role role) {}

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
    this.gate = gate;
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
    this.endpoint = new PeerEndpoint(new Messages(), mint);
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

  /** Told of every change, on the scheduler. */
  public AutoCloseable listen(MigrationListener listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  /**
   * Takes up every unended row of the ledger. With a restored ledger nothing is done until {@link
   * #acceptRestoredLedger}: what it says may be old.
   */
  public CompletableFuture<Void> recover() {
    return call(() -> {
      if (!ledger.restored()) {
        takeUp();
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
        takeUp();
      }
      return null;
    });
  }

  private void takeUp() {
    ledger.purge(scheduler.now().minus(TOMBSTONE_MARGIN));
    for (LedgerRow row : ledger.rows()) {
      if (!row.ended()) {
        Migration migration =
            row.role() == Role.SOURCE
                ? new SourceMigration(host, row)
                : new DestinationMigration(host, row);
        migrations.put(new Key(row.migration(), row.role()), migration);
        migration.recover();
      }
    }
    recovered = true;
  }

  /**
   * Starts a migration at the source.
   *
   * @return completes when SENDING is durable, with what then completes when the VM is the
   *     destination's, or fails with a {@link MigrationException} when it stays and runs here;
   *     fails itself with one when the migration cannot begin
   */
  public CompletableFuture<Started> start(MoveRequest request) {
    return call(() -> begin(request));
  }

  /** A migration that has begun. */
  public record Started(MigrationId migration, CompletableFuture<MigrationStatus> outcome) {}

  private Started begin(MoveRequest request) {
    UUID vm = request.plan().vm();
    if (!recovered) {
      throw refused("OPERATION_NOT_ALLOWED", "this host has not taken up its ledger yet");
    }
    Token token;
    PeerAddress peer;
    try {
      token = Token.read(request.token());
      peer = token.address();
    } catch (IllegalArgumentException e) {
      throw refused("VM_MIGRATE_FAILED", vm, "this is not a token: " + e.getMessage());
    }
    if (!token.versions().contains(PeerAnswer.VERSION)) {
      throw refused("VM_MIGRATE_FAILED", vm, "the destination speaks versions " + token.versions());
    }
    if (!token.expiry().isAfter(scheduler.now())) {
      throw refused("VM_MIGRATE_FAILED", vm, "the token has expired");
    }
    LedgerRow row =
        new LedgerRow(
            token.id(),
            Role.SOURCE,
            vm,
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
    forgetEnded();
    SourceMigration migration = new SourceMigration(host, insert(row));
    migrations.put(new Key(row.migration(), Role.SOURCE), migration);
    migration.start();
    return new Started(row.migration(), migration.outcome());
  }

  /** Ended ones are told from the ledger; a few hundred are kept for their figures. */
  private void forgetEnded() {
    if (migrations.size() > REMEMBERED) {
      migrations.values().removeIf(Migration::ended);
    }
  }

  /** Claims the VM at the gate while the row is written, so that no start slips in between. */
  private LedgerRow insert(LedgerRow row) {
    try (Gate.Permit claim = gate.claim(row.vm())) {
      return ledger.insert(row);
    } catch (XenApiException e) {
      throw new MigrationException(
          e.code(), e.params(), "another operation on the VM is in progress", e);
    } catch (LedgerConflictException e) {
      throw new MigrationException(
          "OTHER_OPERATION_IN_PROGRESS",
          List.of("VM", row.vm().toString(), "migrate_send", String.valueOf(e.getMessage())),
          String.valueOf(e.getMessage()),
          e);
    }
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

  /** An operator ends a row whose peer will never answer; nothing is deleted. Audited. */
  public CompletableFuture<Void> release(MigrationId migration, Role role, String operator) {
    return call(() -> {
      find(migration, role)
          .release(
              new AuditRow(
                  scheduler.now(),
                  operator,
                  "release",
                  migration.toString(),
                  "the operator states that the peer will not come back"));
      return null;
    });
  }

  /** What is known of a migration: from memory, else from the ledger. */
  public Optional<MigrationStatus> status(MigrationId migration, Role role) {
    Migration running = migrations.get(new Key(migration, role));
    return running != null
        ? Optional.of(running.status())
        : ledger.find(migration, role).map(Coordinator::told);
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

  private static MigrationStatus told(LedgerRow row) {
    return new MigrationStatus(
        row.migration(),
        row.role(),
        row.vm(),
        row.state(),
        row.ended() ? "ended" : "not taken up",
        row.ended() ? 1 : 0,
        List.of(),
        0,
        0,
        Optional.empty(),
        Optional.empty(),
        row.outcome(),
        row.forced(),
        row.ended(),
        row.created(),
        row.updated());
  }

  private Migration find(MigrationId migration, Role role) {
    Migration found = migrations.get(new Key(migration, role));
    if (found == null || found.ended()) {
      throw refused(
          "OPERATION_NOT_ALLOWED", "migration " + migration + " is not in progress on this host");
    }
    return found;
  }

  private static MigrationException refused(String code, String sentence) {
    return new MigrationException(code, List.of(sentence), sentence);
  }

  private static MigrationException refused(String code, UUID vm, String sentence) {
    return new MigrationException(code, List.of(vm.toString(), sentence), sentence);
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

  /** The peers' messages. */
  private final class Messages implements PeerHandler {

    @Override
    public UUID incarnation() {
      return ledger.incarnation();
    }

    @Override
    public Optional<String> key(MigrationId migration, Role role) {
      return ledger.find(migration, role).map(LedgerRow::key).filter(key -> !key.isEmpty());
    }

    @Override
    public CompletableFuture<PeerAnswer> handle(
        MigrationId migration, PeerMessage message, Caller caller) {
      CompletableFuture<PeerAnswer> answer = new CompletableFuture<>();
      scheduler.execute(() -> {
        try {
          decide(migration, message, caller)
              .whenComplete((value, failure) -> {
                if (failure == null) {
                  answer.complete(value);
                } else {
                  answer.completeExceptionally(failure);
                }
              });
        } catch (MigrationException e) {
          answer.complete(
              PeerAnswer.unknown(ledger.incarnation())
                  .refusing(e.code(), e.params(), String.valueOf(e.getMessage())));
        } catch (RuntimeException e) {
          answer.completeExceptionally(e);
        }
      });
      return answer;
    }

    private CompletableFuture<PeerAnswer> decide(
        MigrationId id, PeerMessage message, Caller caller) {
      if (!recovered) {
        String sentence = "this host has not taken up its ledger yet";
        return CompletableFuture.completedFuture(
            PeerAnswer.unknown(ledger.incarnation())
                .refusing("HOST_STILL_BOOTING", List.of(sentence), sentence));
      }
      Role role = message instanceof PeerMessage.SourceStatus ? Role.SOURCE : Role.DESTINATION;
      Migration running = migrations.get(new Key(id, role));
      if (running != null && !running.ended()) {
        return running.on(message);
      }
      migrations.remove(new Key(id, role));
      Optional<LedgerRow> tombstone = ledger.find(id, role);
      return tombstone.isPresent()
          ? CompletableFuture.completedFuture(buried(tombstone.get(), message))
          : unknown(id, message, caller);
    }

    private PeerAnswer buried(LedgerRow row, PeerMessage message) {
      PeerAnswer answer =
          PeerAnswer.of(ledger.incarnation(), row.state(), row.forced(), row.ended());
      return switch (message) {
        case PeerMessage.Status status -> answer;
        case PeerMessage.SourceStatus status -> answer;
        case PeerMessage.Acknowledge acknowledge -> answer;
        case PeerMessage.Abort abort when row.state() == State.ABORTED -> answer;
        default -> {
          String sentence = "this migration has ended: " + row.state();
          yield answer.refusing(
              "VM_MIGRATE_FAILED", List.of(row.vm().toString(), sentence), sentence);
        }
      };
    }

    private CompletableFuture<PeerAnswer> unknown(
        MigrationId id, PeerMessage message, Caller caller) {
      PeerAnswer nothing = PeerAnswer.unknown(ledger.incarnation());
      return switch (message) {
        case PeerMessage.Open open -> accept(id, open, caller);
        case PeerMessage.Abort abort -> CompletableFuture.completedFuture(bury(id, abort, caller));
        case PeerMessage.Status status -> CompletableFuture.completedFuture(nothing);
        case PeerMessage.SourceStatus status -> CompletableFuture.completedFuture(nothing);
        case PeerMessage.Acknowledge acknowledge -> CompletableFuture.completedFuture(nothing);
        default ->
            CompletableFuture.completedFuture(
                nothing.refusing(
                    "VM_MIGRATE_FAILED",
                    List.of("", "unknown here"),
                    "migration " + id + " is unknown here"));
      };
    }

    /** An abort that overtook its open leaves a tombstone, so that the open comes to nothing. */
    private PeerAnswer bury(MigrationId id, PeerMessage.Abort abort, Caller caller) {
      PeerAnswer aborted = PeerAnswer.of(ledger.incarnation(), State.ABORTED, false, true);
      if (!abort.incarnation().equals(ledger.incarnation())) {
        return PeerAnswer.unknown(ledger.incarnation())
            .refusing(
                "VM_MIGRATE_FAILED", List.of("", "another incarnation"), "another incarnation");
      }
      Token token = caller.token().orElseThrow();
      if (!token.expiry().isAfter(scheduler.now())) {
        return aborted;
      }
      ledger.insert(
          new LedgerRow(
              id,
              Role.DESTINATION,
              new UUID(0, 0),
              State.ABORTED,
              "",
              "",
              new UUID(0, 0),
              "",
              "",
              "",
              "",
              Optional.of("aborted before it was opened"),
              false,
              true,
              true,
              true,
              host.boot(),
              scheduler.now(),
              scheduler.now(),
              token.expiry(),
              0));
      return aborted;
    }

    private CompletableFuture<PeerAnswer> accept(
        MigrationId id, PeerMessage.Open open, Caller caller) {
      Token token = caller.token().orElseThrow();
      PeerAddress peer;
      try {
        peer = new PeerAddress(open.url(), open.fingerprint());
      } catch (IllegalArgumentException e) {
        throw refused(
            "VM_MIGRATE_FAILED", open.plan().vm(), "the source's address: " + e.getMessage());
      }
      if (!open.versions().contains(PeerAnswer.VERSION)) {
        throw refused("VM_MIGRATE_FAILED", open.plan().vm(), "this host speaks version 1");
      }
      if (!open.key().matches("[0-9a-f]{64}")) {
        throw refused("VM_MIGRATE_FAILED", open.plan().vm(), "not a key");
      }
      if (!token.expiry().isAfter(scheduler.now())) {
        throw refused("VM_MIGRATE_FAILED", open.plan().vm(), "the token has expired");
      }
      LedgerRow row =
          new LedgerRow(
              id,
              Role.DESTINATION,
              open.plan().vmAtDestination(),
              State.RECEIVING,
              peer.url(),
              peer.fingerprint(),
              open.incarnation(),
              open.key(),
              "",
              StrictJson.text(open.plan()),
              open.metadata(),
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
      forgetEnded();
      DestinationMigration migration = new DestinationMigration(host, insert(row));
      migrations.put(new Key(id, Role.DESTINATION), migration);
      migration.start();
      return migration.on(open);
    }
  }
}
