package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.State;
import java.util.List;
import java.util.UUID;

/**
 * COMMITTING: only the destination's record decides. The source keeps the guest paused and
 * everything of it, and repeats the commit for ever; no answer counts unless it is of the
 * incarnation that said READY.
 */
final class Committing extends SourceStage {

  Committing(SourceMigration migration) {
    super(migration, State.COMMITTING);
  }

  @Override
  void enter(boolean recovered) {
    UUID incarnation = migration.row().peerIncarnation();
    Asking.ask(
        migration, this, "commit: run the VM", new PeerMessage.Commit(incarnation), this::answered);
  }

  private boolean answered(PeerAnswer answer) {
    if (!counts(answer)) {
      return false;
    }
    if (answer.in(State.RUNNING)) {
      migration.guestRuns();
      migration.move(
          new Given(migration),
          row -> {
            var given =
                row.withBoot(host().boot())
                    .withOutcome("the VM is at the destination, " + row.peerUrl());
            return answer.forced() ? given.withForced() : given;
          });
      return true;
    }
    if (answer.in(State.ABORTED) || answer.in(State.RETURNED)) {
      migration.backToOwned(
          migration.failure(
              "the destination could not run the VM ("
                  + answer.state()
                  + (answer.sentence().isEmpty() ? ")" : "): " + answer.sentence())));
      return true;
    }
    return false;
  }

  @Override
  void cancel() {
    String sentence =
        "The migration is committing: the destination decides now, and this host cannot take the VM"
            + " back by itself.";
    throw new MigrationException("OPERATION_NOT_ALLOWED", List.of(sentence), sentence);
  }

  @Override
  void force(String operator) {
    String statement =
        "COMMITTING at the source; the operator states that "
            + migration.row().peerUrl()
            + " is powered off, and takes the VM back";
    migration.move(
        new Owned(migration),
        row -> row.withForced().withBoot(host().boot()).withOutcome("taken back by " + operator),
        migration.audit(operator, "force-resume", statement));
  }
}
