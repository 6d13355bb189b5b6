package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.ports.DestinationPorts.Metadata.Standing;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * ABORTED and RETURNED: the VM is the source's. Removes what the journal names, and nothing else:
 * process, exports, accounts, record, disks last; repeated until done. Kept until the source has
 * acknowledged.
 */
final class Undoing extends DestinationStage {
  /**
   * A source that waits is answered at once when nothing is left here, which takes a moment mostly,
   * and told that something is after this; well before it takes the answer for lost.
   */
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  Undoing(DestinationMigration migration, State outcome) {
    super(migration, outcome);
  }

  @Override
  void enter(boolean recovered) {
    if (!migration.row().cleaned() && !migration.row().forced()) {
      host().ledger().closeExports(migration.id());
      endWhatStarts();
      whenQuiet(() -> persist(this::effects, this::cleaned));
    }
    if (migration.row().doubtful() && !migration.row().settled()) {
      askSource();
    }
  }

  /**
   * A process that is being started to receive memory would else be waited for, only to be ended.
   * The start fails once it is gone. Whatever comes of this, the clean-up ends the process as the
   * journal says, after both; a guest that may have run is never touched, see {@link #endGuest}.
   */
  private void endWhatStarts() {
    boolean journaled =
        host().ledger().journal(migration.id()).stream()
            .anyMatch(entry -> entry.kind() == JournalEntry.Kind.GUEST);
    if (state() == State.ABORTED
        && migration.plan().live()
        && journaled
        && !migration.effects().quiet()) {
      step(
          "ending the process that was to receive the memory",
          () -> endGuest(vm()).thenApply(done -> true),
          done -> {},
          failure -> {});
    }
  }

  /** It may have acknowledged before the ledger was put back, and does so once only. */
  private void askSource() {
    Asking.ask(
        migration,
        this,
        "the ledger was put back: is anything awaited?",
        new PeerMessage.SourceStatus(),
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          migration.note(row -> acknowledgedBy(answer, row).withBoot(host().boot()));
          migration.settleIf(state());
          return true;
        });
  }

  /** A source that is OWNED, or has ended its row, has its own record durable. */
  static LedgerRow acknowledgedBy(PeerAnswer answer, LedgerRow row) {
    return answer.gone() || answer.in(State.OWNED) ? row.withSettled() : row;
  }

  private void cleaned() {
    migration.note(LedgerRow::withCleaned);
    migration.phase("nothing is left here");
    answerAll(migration.answer());
    migration.settleIf(state());
  }

  private List<Effect> effects() {
    List<Effect> effects = new ArrayList<>();
    if (migration.row().doubtful() && migration.plan().running()) {
      // It may have been started after the copy was made, and then no word of it is in the journal.
      effects.add(new Effect("ending the guest that waits", () -> endGuest(vm())));
    }
    for (JournalEntry entry : host().ledger().journal(migration.id())) {
      effects.add(
          new Effect(
              "removing " + entry.kind() + " " + entry.name(),
              () ->
                  remove(entry)
                      .thenApplyAsync(
                          done -> {
                            host().ledger().done(entry);
                            return done;
                          },
                          host().scheduler())));
    }
    return effects;
  }

  private CompletableFuture<Void> remove(JournalEntry entry) {
    try (var permit =
        host().gate().enterFor(migration.id(), Role.DESTINATION, Operation.DESTROY_DISK)) {
      return switch (entry.kind()) {
        case GUEST -> endGuest(UUID.fromString(entry.name()));
        case EXPORT ->
            ports()
                .storage()
                .closeExport(
                    migration.id(),
                    new ExportSpec(entry.name(), UUID.fromString(entry.detail()), "", ""));
        case ACCOUNT -> ports().storage().removeAccount(migration.id(), entry.name());
        case VM -> ports().metadata().remove(migration.id(), UUID.fromString(entry.name()));
        case VDI -> ports().storage().destroyVdi(migration.id(), UUID.fromString(entry.name()));
      };
    } catch (XenApiException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  /**
   * The migration's own guest has never run. Of a VM that is shown here the process is another's:
   * it came later, by a migration that a ledger put back from a copy does not know.
   */
  private CompletableFuture<Void> endGuest(UUID vm) {
    return ports()
        .metadata()
        .standing(vm)
        .thenCompose(found ->
            found == Standing.SHOWN
                ? CompletableFuture.completedFuture(null)
                : migration.plan().warm()
                    ? ports().guests().unmakeMachine(vm)
                    : ports().guests().giveUp(vm));
  }

  @Override
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return switch (message) {
      case PeerMessage.Abort abort -> now(migration.answer());
      case PeerMessage.Acknowledge acknowledge -> {
        migration.note(LedgerRow::withSettled);
        yield acknowledged();
      }
      // The decision stands; it is an answer, so that a source in COMMITTING hears it.
      case PeerMessage.Commit commit -> now(migration.refusal("cannot commit in " + state()));
      default -> super.on(message);
    };
  }

  /** Until nothing is left, since the source's client waits for that. */
  private CompletableFuture<PeerAnswer> acknowledged() {
    PeerAnswer answer = migration.answer();
    if (migration.ended()) {
      migration.settleIf(state());
      return now(answer);
    }
    CompletableFuture<PeerAnswer> waiter = later();
    after(PATIENCE, () -> answerOne(waiter, migration.answer()));
    return waiter;
  }

  @Override
  void cancel() {}
}
