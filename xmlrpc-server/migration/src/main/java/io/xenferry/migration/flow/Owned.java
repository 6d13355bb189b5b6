package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.UUID;

/**
 * OWNED: the VM is the source's again, durably. The guest goes on first; then the destination is
 * told until it has nothing left, and what the copy left here is removed.
 *
 * <p>A row that was forced only asks: nothing is deleted automatically after an operator's word.
 */
final class Owned extends SourceStage {
  private boolean guestHandled;

  /** The guest stands still until the destination has answered, or an operator has. */
  private boolean held;

  Owned(SourceMigration migration) {
    super(migration, State.OWNED);
  }

  @Override
  void enter(boolean recovered) {
    if (!migration.row().cleaned()) {
      restoreGuest(0);
    } else {
      // By a server before this one; whoever waited for that one waits for this one now.
      guestHandled = true;
      reportOutcome();
    }
    if (!migration.row().settled()) {
      tellDestination();
    }
  }

  private void restoreGuest(int attempt) {
    UUID vm = migration.plan().vm();
    if (!migration.plan().running()) {
      guestRestored();
      return;
    }
    migration.step(
        this,
        "ending the hypervisor's migration",
        host().deadlines().step(),
        () -> host().source().guests().cancelMemory(vm),
        done -> observe(vm, attempt, true),
        failure -> observe(vm, attempt, false));
  }

  /**
   * Resumes the guest where it is paused.
   *
   * @param cancelled whether the hypervisor's migration is known to have ended: while it is not, it
   *     may still pause the guest, so that a running one proves nothing
   */
  private void observe(UUID vm, int attempt, boolean cancelled) {
    migration.step(
        this,
        "looking after the guest",
        host().deadlines().step(),
        () -> host().source().guests().observe(vm),
        seen -> {
          switch (seen) {
            case GONE, SHUTDOWN -> guestRestored();
            case RUNNING -> guestSeenRunning(attempt, cancelled);
            case PAUSED, PRE_SWITCHOVER, SENT, INCOMING, RECEIVED ->
                resume(vm, attempt, cancelled, seen);
          }
        },
        failure -> later(attempt));
  }

  private void resume(UUID vm, int attempt, boolean cancelled, GuestState seen) {
    if (migration.row().doubtful() && !migration.row().settled()) {
      // The ledger was put back from a copy: the VM may have been committed, and run there.
      held = true;
      migration.phase(
          "the ledger was put back: the guest stands still until it is known who has it");
      return;
    }
    try (var permit = host().gate().enterFor(migration.id(), Role.SOURCE, Operation.RESUME)) {
      migration.step(
          this,
          "resuming the guest, " + seen,
          host().deadlines().step(),
          () -> host().source().guests().resume(vm),
          done -> guestSeenRunning(attempt, cancelled),
          failure -> later(attempt));
    } catch (XenApiException e) {
      throw new IllegalStateException("OWNED is durable, and the gate refuses", e);
    }
  }

  private void guestSeenRunning(int attempt, boolean cancelled) {
    if (cancelled) {
      guestRestored();
    } else {
      reportOutcome();
      later(attempt);
    }
  }

  private void later(int attempt) {
    migration.after(this, migration.backOff(attempt), () -> restoreGuest(attempt + 1));
  }

  private void reportOutcome() {
    migration.guestRuns();
    MigrationException cause = migration.failed();
    migration
        .outcome()
        .completeExceptionally(
            cause != null
                ? cause
                : migration.failure(migration.row().outcome().orElse("the VM stays here")));
  }

  private void guestRestored() {
    guestHandled = true;
    reportOutcome();
    migration.whenQuiet(
        this,
        () ->
            migration.persist(
                this,
                this::cleanUp,
                () -> {
                  migration.note(LedgerRow::withCleaned);
                  migration.settleIf(State.OWNED);
                }));
  }

  private List<Effect> cleanUp() {
    var job = migration.job();
    Effect rest =
        new Effect(
            "removing what the copy left",
            () -> host().source().copies().cleanUp(migration.id(), migration.plan()));
    return job == null ? List.of(rest) : List.of(new Effect("closing the copy", job::close), rest);
  }

  private void tellDestination() {
    PeerMessage message =
        migration.row().forced()
            ? new PeerMessage.Status()
            : new PeerMessage.Abort(migration.row().peerIncarnation());
    Asking.ask(
        migration,
        this,
        migration.row().forced() ? "how it stands" : "abort: the VM stays at the source",
        message,
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          if (answer.in(State.ABORTED) || answer.in(State.RETURNED) || unknown(answer)) {
            migration.note(row -> row.withBoot(host().boot()));
            release();
            acknowledge();
            return true;
          }
          return false;
        });
  }

  private void acknowledge() {
    Asking.ask(
        migration,
        this,
        "acknowledge",
        new PeerMessage.Acknowledge(),
        answer -> {
          if (!counts(answer) || answer.refused() || !answer.gone()) {
            return false;
          }
          migration.note(LedgerRow::withSettled);
          migration.settleIf(State.OWNED);
          return true;
        });
  }

  private static boolean unknown(PeerAnswer answer) {
    return !answer.refused() && answer.gone() && answer.known().isEmpty();
  }

  /** Cancelling what has already gone back is no error; the outcome says how it came out. */
  @Override
  void cancel() {}

  /** The VM is here, but this host was restarted and the peer is away: the operator vouches. */
  @Override
  void force(String operator) {
    migration
        .host()
        .ledger()
        .audit(
            migration.audit(
                operator,
                "force-resume",
                "OWNED at the source; the operator states that "
                    + migration.row().peerUrl()
                    + " is powered off"));
    migration.note(row -> row.withForced().withBoot(host().boot()));
    release();
  }

  private void release() {
    if (held) {
      held = false;
      restoreGuest(0);
    }
  }
}
