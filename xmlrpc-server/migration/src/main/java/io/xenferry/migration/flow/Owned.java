package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * OWNED: the VM is the source's again, durably. The guest goes on first; then the destination is
 * told until it has nothing left, and what the copy left here is removed.
 *
 * <p>The guest of a warm move that has shut down, as it was told to, is booted again. One that was
 * told and still runs may yet heed that, and is watched for a while.
 *
 * <p>Until the guest goes on for certain no client may pause or suspend it; once that is noted only
 * its end is still dealt with here, and one that stands still is left as it is.
 *
 * <p>A row that was forced only asks: nothing is deleted automatically after an operator's word.
 */
final class Owned extends SourceStage {
  /**
   * Most systems that were told to shut down have done so by then; the VM cannot move meanwhile.
   */
  private static final Duration MAY_HEED = Duration.ofMinutes(5);

  /** The guest stands still until the destination has answered, or an operator has. */
  private boolean held;

  /** The guest may still shut down, as it was told to. */
  private Optional<CompletableFuture<GuestState>> mayHeed = Optional.empty();

  private boolean watched;

  /** This server has seen the guest run. */
  private boolean seenRunning;

  /** Nothing that the stages before had under way can stop the guest any more. */
  private boolean quiet;

  /** The guest is being brought back to running, by one chain of steps at a time. */
  private boolean restoring;

  /** It is to be looked at once more. */
  private boolean onceMore;

  private boolean cleaning;
  private boolean cleaned;

  Owned(SourceMigration migration) {
    super(migration, State.OWNED);
  }

  @Override
  void enter(boolean recovered) {
    if (!migration.row().cleaned()) {
      restore();
    } else {
      // By a server before this one; whoever waited for that one waits for this one now.
      reportOutcome();
    }
    if (!migration.row().settled()) {
      tellDestination();
    }
  }

  private void restore() {
    if (restoring) {
      onceMore = true;
    } else {
      restoring = true;
      restoreGuest(0);
    }
  }

  private void restoreGuest(int attempt) {
    UUID vm = migration.plan().vm();
    if (!migration.plan().running()) {
      guestRestored();
      return;
    }
    if (migration.letGo()) {
      observe(vm, attempt, true);
      return;
    }
    step(
        "ending the hypervisor's migration",
        () -> host().source().guests().cancelMemory(vm),
        done -> observe(vm, attempt, true),
        failure -> observe(vm, attempt, false));
  }

  /**
   * Resumes the guest where it is paused, unless by a client.
   *
   * @param cancelled whether the hypervisor's migration is known to have ended: while it is not, it
   *     may still pause the guest, so that a running one proves nothing
   */
  private void observe(UUID vm, int attempt, boolean cancelled) {
    step(
        "looking after the guest",
        () -> host().source().guests().observe(vm),
        seen -> {
          switch (seen) {
            case GONE, SHUTDOWN -> {
              if (migration.toldToStop()) {
                boot(vm, attempt, cancelled);
              } else {
                guestRestored();
              }
            }
            case RUNNING -> guestSeenRunning(attempt, cancelled);
            case PAUSED, PRE_SWITCHOVER, SENT, INCOMING, RECEIVED -> {
              if (migration.letGo()) {
                guestSeenRunning(attempt, cancelled);
              } else {
                resume(vm, attempt, cancelled, seen);
              }
            }
          }
        },
        failure -> later(attempt));
  }

  private boolean standsStillInDoubt() {
    if (migration.row().doubtful() && !migration.row().settled()) {
      // The ledger was put back from a copy: the VM may have been committed, and run there.
      held = true;
      migration.phase(
          "the ledger was put back: the guest stands still until it is known who has it");
    }
    return held;
  }

  /**
   * It shut down for the move only; whoever does something with the VM just now is not disturbed.
   */
  private void boot(UUID vm, int attempt, boolean cancelled) {
    if (standsStillInDoubt()) {
      return;
    }
    Gate.Permit alone;
    try (var permit = host().gate().enterFor(migration.id(), Role.SOURCE, Operation.START)) {
      alone = host().gate().claim(vm, "it boots again, since its move has come to nothing");
    } catch (XenApiException e) {
      migration.phase("waiting until nothing else goes on with the VM");
      later(attempt);
      return;
    }
    // What it was asked is lost with the boot, but for what reaches it only then.
    watched = !migration.mayStillBeAsked();
    step(
        "booting the guest again",
        () ->
            host()
                .source()
                .guests()
                .boot(vm, seenRunning || migration.begunHere())
                .whenComplete((done, failure) -> alone.close()),
        done -> guestSeenRunning(attempt, cancelled),
        failure -> later(attempt));
  }

  private void resume(UUID vm, int attempt, boolean cancelled, GuestState seen) {
    if (standsStillInDoubt()) {
      return;
    }
    try (var permit = host().gate().enterFor(migration.id(), Role.SOURCE, Operation.RESUME)) {
      step(
          "resuming the guest, " + seen,
          () -> host().source().guests().resume(vm),
          done -> guestSeenRunning(attempt, cancelled),
          failure -> later(attempt));
    } catch (XenApiException e) {
      throw new IllegalStateException("OWNED is durable, and the gate refuses", e);
    }
  }

  /** It runs, or stands still by a client's wish. */
  private void guestSeenRunning(int attempt, boolean cancelled) {
    seenRunning = true;
    if (cancelled) {
      if (migration.toldToStop() && !watched) {
        watchWhetherItHeeds();
      }
      guestRestored();
    } else {
      reportOutcome();
      later(attempt);
    }
  }

  /** Its end would still be the move's doing. The destination is told meanwhile. */
  private void watchWhetherItHeeds() {
    watched = true;
    CompletableFuture<GuestState> ended = host().source().guests().ended(migration.plan().vm());
    mayHeed = Optional.of(ended);
    hear(
        "whether the guest still shuts down",
        MAY_HEED,
        () -> ended,
        seen -> {
          mayHeed = Optional.empty();
          restore();
        },
        failure -> {
          leave();
          end();
        });
  }

  @Override
  void leave() {
    mayHeed.ifPresent(ended -> ended.cancel(false));
    mayHeed = Optional.empty();
  }

  private void later(int attempt) {
    retry(attempt, () -> restoreGuest(attempt + 1));
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
    restoring = false;
    if (onceMore) {
      onceMore = false;
      restore();
      return;
    }
    reportOutcome();
    if (cleaning) {
      end();
      return;
    }
    cleaning = true;
    whenQuiet(this::nothingUnderWay);
  }

  /** A stop of the guest that was under way may have come about only after it was looked at. */
  private void nothingUnderWay() {
    if (migration.toldToStop() && !quiet) {
      quiet = true;
      cleaning = false;
      restore();
      return;
    }
    migration.guestLetGo();
    persist(
        this::cleanUp,
        () -> {
          cleaned = true;
          end();
        });
  }

  private void end() {
    if (!cleaned || restoring) {
      return;
    }
    if (mayHeed.isPresent() && migration.mayStillShutDown()) {
      migration.phase(SourceMigration.WATCHING);
    } else {
      leave();
      migration.note(LedgerRow::withCleaned);
      migration.settleIf(State.OWNED);
    }
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
