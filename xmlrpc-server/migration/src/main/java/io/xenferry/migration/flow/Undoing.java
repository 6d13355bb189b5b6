package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
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

  Undoing(DestinationMigration migration, State outcome) {
    super(migration, outcome);
  }

  @Override
  void enter(boolean recovered) {
    if (!migration.row().cleaned() && !migration.row().forced()) {
      host().ledger().closeExports(migration.id());
      migration.whenQuiet(this, () -> migration.persist(this, this::effects, this::cleaned));
    }
  }

  private void cleaned() {
    migration.note(LedgerRow::withCleaned);
    migration.phase("nothing is left here");
    migration.settleIf(state());
  }

  private List<Effect> effects() {
    List<Effect> effects = new ArrayList<>();
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
        case GUEST -> ports().guests().destroy(UUID.fromString(entry.name()));
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

  @Override
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return switch (message) {
      case PeerMessage.Abort abort -> now(migration.answer());
      case PeerMessage.Acknowledge acknowledge -> {
        migration.note(LedgerRow::withSettled);
        PeerAnswer answer = migration.answer();
        migration.settleIf(state());
        yield now(answer);
      }
      // The decision stands; it is an answer, so that a source in COMMITTING hears it.
      case PeerMessage.Commit commit -> now(migration.refusal("cannot commit in " + state()));
      default -> super.on(message);
    };
  }

  @Override
  void cancel() {}
}
