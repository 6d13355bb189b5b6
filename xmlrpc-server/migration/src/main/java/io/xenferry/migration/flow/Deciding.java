package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/** What COMMITTED and STARTING share: a commit is on its way to RUNNING or RETURNED. */
abstract class Deciding extends DestinationStage {
  /** A source that waits is answered at once when it is decided, and told the state after this. */
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  Deciding(DestinationMigration migration, State state) {
    super(migration, state);
  }

  @Override
  final CompletableFuture<PeerAnswer> on(PeerMessage message) {
    if (!(message instanceof PeerMessage.Commit commit)) {
      return super.on(message);
    }
    if (!thisIncarnation(commit.incarnation())) {
      return now(migration.refusal("this is another incarnation"));
    }
    CompletableFuture<PeerAnswer> answer = later();
    after(PATIENCE, () -> answerAll(migration.answer()));
    return answer;
  }

  /** Waiters move on to the next stage until it is decided. */
  @Override
  final void leave() {
    if (migration.stage() instanceof Starting next) {
      handOver(next);
    } else {
      super.leave();
    }
  }

  /**
   * After a restart the source is asked before the guest runs, since an operator may have forced
   * the VM back meanwhile; an operator's force here needs no answer until this host is rebooted.
   */
  final void withSourcesConsent(Runnable goOn) {
    if (migration.row().forced() && migration.row().boot().equals(host().boot())) {
      goOn.run();
      return;
    }
    Asking.ask(
        migration,
        this,
        "is the commit still wanted?",
        new PeerMessage.SourceStatus(),
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          if (answer.in(State.COMMITTING) || answer.in(State.GIVEN)) {
            migration.note(row -> row.withBoot(host().boot()));
            goOn.run();
            return true;
          }
          if (answer.in(State.OWNED) && answer.forced()) {
            migration.yieldToForce(State.RETURNED);
            return true;
          }
          return false;
        });
  }

  @Override
  final void force(String operator) {
    host()
        .ledger()
        .audit(
            migration.audit(
                operator,
                "force-commit",
                state()
                    + " at the destination; the operator states that "
                    + migration.row().peerUrl()
                    + " is powered off"));
    migration.note(row -> row.withForced().withBoot(host().boot()));
    consented();
  }

  /** Goes on without the source's answer. */
  abstract void consented();
}
