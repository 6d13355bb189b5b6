package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.State;
import java.util.concurrent.CompletableFuture;

/**
 * READY: everything that can fail is done. Neither starts nor drops the guest by itself: commit or
 * abort decide, whichever comes first; a guest whose process is gone cannot be committed any more.
 */
final class Ready extends DestinationStage {
  private boolean returning;

  Ready(DestinationMigration migration) {
    super(migration, State.READY);
  }

  @Override
  void enter(boolean recovered) {
    returning = recovered;
    if (migration.plan().running()) {
      watchGuest();
    }
    after(host().deadlines().lost(), this::askSource);
  }

  private void watchGuest() {
    hear(
        "looking after the guest",
        () -> ports().guests().observe(vm()),
        seen -> {
          if (seen == GuestState.GONE || seen == GuestState.SHUTDOWN) {
            migration.abort("the guest's process ended before the commit");
          } else {
            after(host().deadlines().heartbeat(), this::watchGuest);
          }
        },
        failure -> after(host().deadlines().heartbeat(), this::watchGuest));
  }

  /** The source tells by itself; after a while it is asked, in case it lost the thread. */
  private void askSource() {
    Asking.ask(
        migration,
        this,
        "commit or abort?",
        new PeerMessage.SourceStatus(),
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          if (answer.gone() && answer.known().isEmpty()) {
            // It would have ended a row that is GIVEN only once this side had acknowledged that.
            migration.abort("the source knows nothing of it any more: an operator has ended it");
            return true;
          }
          if (!answer.in(State.OWNED)) {
            return false;
          }
          if (answer.forced()) {
            migration.yieldToForce(State.ABORTED);
          } else {
            migration.abort("the source took the VM back");
          }
          return true;
        });
  }

  @Override
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return switch (message) {
      case PeerMessage.Prepare prepare -> now(migration.answer());
      case PeerMessage.Commit commit -> commit(commit);
      case PeerMessage.Abort abort -> {
        if (!thisIncarnation(abort.incarnation())) {
          yield now(migration.refusal("this is another incarnation"));
        }
        migration.abort("the source took the VM back");
        yield now(migration.answer());
      }
      default -> super.on(message);
    };
  }

  private CompletableFuture<PeerAnswer> commit(PeerMessage.Commit commit) {
    if (!thisIncarnation(commit.incarnation())) {
      return now(migration.refusal("this is another incarnation"));
    }
    // While this server was away an operator may have forced the VM back, and a commit that was
    // sent before that may come after it.
    migration.move(new Committed(migration, returning), row -> row.withBoot(host().boot()));
    return migration.on(commit);
  }

  @Override
  void force(String operator) {
    migration.move(
        new Committed(migration, false),
        row -> row.withForced().withBoot(host().boot()),
        migration.audit(
            operator,
            "force-commit",
            "READY at the destination; the operator states that "
                + migration.row().peerUrl()
                + " is powered off, and knows that the guest may go back in time"));
  }
}
