package io.xenferry.migration.flow;

import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * RUNNING: the VM is this host's, running or halted. The networks are told, the record is shown,
 * accounts go; the outcome is kept until the source has acknowledged it.
 */
final class Running extends DestinationStage {
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  Running(DestinationMigration migration) {
    super(migration, State.RUNNING);
  }

  @Override
  void enter(boolean recovered) {
    if (!migration.row().cleaned()) {
      if (migration.plan().running() && !recovered) {
        step(
            "announcing the guest's MACs",
            () -> ports().guests().announce(vm()),
            done -> settleHere(),
            // Networks learn by themselves; a move is not undone for that.
            failure -> settleHere());
      } else {
        settleHere();
      }
    }
    if (!migration.row().boot().equals(host().boot())) {
      askSource();
    }
  }

  private void askSource() {
    Asking.ask(
        migration,
        this,
        "has the VM been forced back?",
        new PeerMessage.SourceStatus(),
        answer -> {
          if (counts(answer) && !(answer.in(State.OWNED) && answer.forced())) {
            // A source that has ended its row, or knows nothing of it any more, has acknowledged.
            migration.note(
                row -> (answer.gone() ? row.withSettled() : row).withBoot(host().boot()));
            migration.settleIf(State.RUNNING);
            return true;
          }
          return false;
        });
  }

  /** The VM is here, but this host was rebooted and the source is away: the operator vouches. */
  @Override
  void force(String operator) {
    host()
        .ledger()
        .audit(
            migration.audit(
                operator,
                "force-commit",
                "RUNNING at the destination; the operator states that "
                    + migration.row().peerUrl()
                    + " is powered off, and knows that the guest may go back in time"));
    migration.note(row -> row.withForced().withBoot(host().boot()));
  }

  private void settleHere() {
    persist(
        this::effects,
        () -> {
          host().ledger().journal(migration.id()).forEach(entry -> host().ledger().done(entry));
          migration.note(LedgerRow::withCleaned);
          migration.phase("the VM is here");
          answerAll(migration.answer());
          migration.settleIf(State.RUNNING);
        });
  }

  private List<Effect> effects() {
    List<Effect> effects = new ArrayList<>();
    for (JournalEntry entry : host().ledger().journal(migration.id())) {
      if (entry.kind() == JournalEntry.Kind.EXPORT) {
        ExportSpec export = new ExportSpec(entry.name(), UUID.fromString(entry.detail()), "", "");
        effects.add(
            new Effect(
                "closing export " + entry.name(),
                () -> ports().storage().closeExport(migration.id(), export)));
      } else if (entry.kind() == JournalEntry.Kind.ACCOUNT) {
        effects.add(
            new Effect(
                "removing account " + entry.name(),
                () -> ports().storage().removeAccount(migration.id(), entry.name())));
      }
    }
    effects.add(
        new Effect(
            "showing the VM", () -> ports().metadata().reveal(migration.id(), migration.plan())));
    return effects;
  }

  @Override
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return switch (message) {
      case PeerMessage.Acknowledge acknowledge -> {
        migration.note(LedgerRow::withSettled);
        yield acknowledged();
      }
      // A commit that came twice: it has been obeyed.
      case PeerMessage.Commit commit -> now(migration.answer());
      default -> super.on(message);
    };
  }

  /** The VM is shown within a moment, mostly; the source need not ask twice. */
  private CompletableFuture<PeerAnswer> acknowledged() {
    PeerAnswer answer = migration.answer();
    if (migration.ended()) {
      migration.settleIf(State.RUNNING);
      return now(answer);
    }
    CompletableFuture<PeerAnswer> waiter = later();
    after(PATIENCE, () -> answerAll(migration.answer()));
    return waiter;
  }
}
