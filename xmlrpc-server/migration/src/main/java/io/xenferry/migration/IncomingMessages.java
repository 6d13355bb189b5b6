package io.xenferry.migration;

import io.xenferry.migration.flow.DestinationMigration;
import io.xenferry.migration.flow.Host;
import io.xenferry.migration.flow.Migration;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerHandler;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.time.Scheduler;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/**
 * What peers say, decided on this host's scheduler: to the migration that it is for, to its
 * tombstone, or as the first word about one.
 */
final class IncomingMessages implements PeerHandler {
  private final Host host;
  private final Ledger ledger;
  private final Scheduler scheduler;
  private final Roster roster;
  private final Arrivals arrivals;

  IncomingMessages(Host host, Roster roster) {
    this.host = host;
    this.ledger = host.ledger();
    this.scheduler = host.scheduler();
    this.roster = roster;
    this.arrivals = new Arrivals(host, roster);
  }

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

  private CompletableFuture<PeerAnswer> decide(MigrationId id, PeerMessage message, Caller caller) {
    if (!roster.takenUp()) {
      String sentence = "this host has not taken up its ledger yet";
      return CompletableFuture.completedFuture(
          PeerAnswer.unknown(ledger.incarnation())
              .refusing("HOST_STILL_BOOTING", List.of(sentence), sentence));
    }
    Role role = message instanceof PeerMessage.SourceStatus ? Role.SOURCE : Role.DESTINATION;
    Optional<Migration> running = roster.find(id, role);
    if (message instanceof PeerMessage.Check check) {
      return check(check, caller, running.isPresent() || ledger.find(id, role).isPresent());
    }
    if (running.isPresent() && !running.get().ended()) {
      return running.get().on(message);
    }
    roster.forget(id, role);
    Optional<LedgerRow> tombstone = ledger.find(id, role);
    return tombstone.isPresent()
        ? CompletableFuture.completedFuture(buried(tombstone.get(), message))
        : unknown(id, message, caller);
  }

  private PeerAnswer buried(LedgerRow row, PeerMessage message) {
    PeerAnswer answer =
        PeerAnswer.of(ledger.incarnation(), row.state(), row.forced(), row.ended())
            .saying(row.outcome().orElse(""));
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
      case PeerMessage.Turn turn -> {
        Refusals.requireUnexpired(caller.token().orElseThrow(), turn.vm(), scheduler.now());
        arrivals.promise(id, Set.copyOf(turn.srs()));
        yield CompletableFuture.completedFuture(nothing);
      }
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
          .refusing("VM_MIGRATE_FAILED", List.of("", "another incarnation"), "another incarnation");
    }
    arrivals.over(id);
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

  /**
   * Whether the VM could come here, as far as can be told without doing anything: the same looks
   * that RECEIVING begins with. A source that understands it is told everything.
   *
   * @param used whether the token has been
   */
  private CompletableFuture<PeerAnswer> check(
      PeerMessage.Check check, Caller caller, boolean used) {
    UUID vm = check.plan().vmAtDestination();
    Survey survey = new Survey(Role.DESTINATION);
    survey.passes(() -> Refusals.requireOurVersion(check.versions(), vm), ObstacleKind.VERSION);
    Token token = caller.token().orElseThrow();
    survey.passes(
        () -> Refusals.requireUnexpired(token, vm, scheduler.now()), ObstacleKind.TOKEN_EXPIRED);
    if (used) {
      survey.raise(Refusals.failed(vm, "this token has been used"), ObstacleKind.TOKEN_USED);
    }
    survey.passes(() -> Refusals.requireFree(ledger, vm), ObstacleKind.VM_BUSY);
    return noted(survey, vm, host.destination().storage().check(check.plan()))
        .thenComposeAsync(
            room ->
                noted(
                    survey,
                    vm,
                    host.destination().metadata().check(check.plan(), check.metadata())),
            scheduler)
        .thenApply(all -> answer(check, survey.found()));
  }

  private CompletableFuture<Void> noted(
      Survey survey, UUID vm, CompletableFuture<List<Obstacle>> check) {
    return check
        .handle((found, failure) -> {
          if (failure == null) {
            found.forEach(survey::add);
          } else {
            survey.raise(named(vm, failure));
          }
          return true;
        })
        .thenAccept(done -> {});
  }

  private static MigrationException named(UUID vm, Throwable failure) {
    Throwable cause =
        failure instanceof CompletionException && failure.getCause() != null
            ? failure.getCause()
            : failure;
    return cause instanceof MigrationException known
        ? known
        : Refusals.failed(vm, "the destination could not be checked: " + cause.getMessage());
  }

  private PeerAnswer answer(PeerMessage.Check check, List<Obstacle> found) {
    PeerAnswer answer = PeerAnswer.unknown(ledger.incarnation());
    if (!found.isEmpty()) {
      Obstacle first = found.getFirst();
      answer = answer.refusing(first.code(), first.params(), first.sentence());
    }
    return check.versions().contains(PeerAnswer.WITH_FINDINGS)
        ? answer.with(scheduler.now().toEpochMilli(), found)
        : answer;
  }

  private CompletableFuture<PeerAnswer> accept(
      MigrationId id, PeerMessage.Open open, Caller caller) {
    arrivals.over(id);
    UUID vm = open.plan().vmAtDestination();
    Token token = caller.token().orElseThrow();
    PeerAddress peer;
    try {
      peer = new PeerAddress(open.url(), open.fingerprint());
    } catch (IllegalArgumentException e) {
      throw Refusals.failed(vm, "the source's address: " + e.getMessage());
    }
    Refusals.requireOurVersion(open.versions(), vm);
    if (!open.key().matches("[0-9a-f]{64}")) {
      throw Refusals.failed(vm, "not a key");
    }
    Refusals.requireUnexpired(token, vm, scheduler.now());
    LedgerRow row =
        new LedgerRow(
            id,
            Role.DESTINATION,
            vm,
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
    DestinationMigration migration = roster.beginDestination(row);
    migration.start();
    return migration.on(open);
  }
}
