package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * SWITCHING: the guest is paused; the last blocks, the fence and the rest of the memory, READY. The
 * source may still take the guest back alone, and does when the deadline passes.
 */
final class Switching extends SourceStage {

  private CompletableFuture<GuestState> guestEnded = new CompletableFuture<>();
  private boolean closed;
  private boolean memorySent;
  private boolean seenStill;
  private boolean ready;

  Switching(SourceMigration migration) {
    super(migration, State.SWITCHING);
  }

  @Override
  void enter(boolean recovered) {
    if (recovered) {
      migration.backToOwned(
          migration.failure(
              "the source's server " + migration.interruption() + " during the switch"));
      return;
    }
    if (migration.plan().running()) {
      guestEnded =
          migration.watchGuest(
              this, seen -> migration.plan().warm() && seen == GuestState.SHUTDOWN);
    }
    migration.heartbeat(this);
    boolean proof = migration.plan().provedInPause();
    Duration most =
        host().deadlines().switchOver().plus(proof ? host().deadlines().proof() : Duration.ZERO);
    endAfter(most);
    if (proof) {
      migration.phase("comparing all blocks at both ends");
    }
    CopyJob job = Objects.requireNonNull(migration.job(), "copied before");
    // Heard, not counted: once the destination is gone a drain does not end before the clean-up,
    // which waits for what is counted, has ended the job.
    hear(
        "draining the last dirty blocks",
        most,
        job::drain,
        this::closeExports,
        failure -> migration.failed(this, "the last blocks could not be written", failure));
  }

  private void endAfter(Duration limit) {
    after(
        limit,
        () ->
            migration.backToOwned(
                migration.failure("the switch took more than " + limit.toSeconds() + " s")));
  }

  private void closeExports(List<UUID> drained) {
    List<UUID> planned = migration.plan().disks().stream().map(Plan.Disk::vdi).toList();
    if (!drained.equals(planned)) {
      migration.backToOwned(migration.failure("not every disk's books were closed"));
      return;
    }
    if (migration.plan().provedInPause()) {
      // The rest has no more time than without that.
      endAfter(host().deadlines().switchOver());
    }
    migration.sample(); // what was sent since the last look
    if (migration.plan().live()) {
      finishMemory();
    } else {
      migration.phase("closing the exports at the destination");
    }
    Asking.ask(
        migration,
        this,
        "close the exports and flush",
        new PeerMessage.CloseExports(drained),
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          if (answer.refused()) {
            migration.backToOwned(refusedBy(answer));
          } else {
            closed = true;
            showWait();
            prepare();
          }
          return true;
        });
  }

  /**
   * On its way while the exports are being closed: the receiving process does not open its disks
   * before it is told to, once they are closed.
   */
  private void finishMemory() {
    step(
        "closing the exports and sending the rest of the memory",
        host().deadlines().switchOver(),
        () -> host().source().guests().finishMemory(migration.plan().vm()),
        done -> {
          memorySent = true;
          migration.sample();
          showWait();
          observe();
        },
        failure -> migration.failed(this, "the rest of the memory could not be sent", failure));
  }

  private void showWait() {
    if (closed && (memorySent || !migration.plan().live())) {
      migration.progress(0.97);
      migration.phase("waiting until the destination is ready");
    }
  }

  /** The destination waits for the end of the memory stream. */
  private void prepare() {
    Asking.ask(
        migration,
        this,
        "make everything ready",
        new PeerMessage.Prepare(),
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          if (answer.refused()) {
            migration.backToOwned(refusedBy(answer));
            return true;
          }
          if (!answer.in(State.READY)) {
            return false;
          }
          ready = true;
          if (migration.plan().live()) {
            commitOnceBoth();
          } else {
            observe();
          }
          return true;
        });
  }

  /**
   * Heard, since it runs beside the destination's preparations: a guest that was sent and is seen
   * paused stays so until it is told otherwise, which only this server does.
   */
  private void observe() {
    hear(
        "checking that the guest cannot resume by itself",
        () -> host().source().guests().observe(migration.plan().vm()),
        seen -> {
          if (standsStill(migration.plan(), seen)) {
            seenStill = true;
            commitOnceBoth();
          } else {
            migration.backToOwned(migration.failure("the guest is " + seen + " at the switch"));
          }
        },
        failure -> fail("the guest cannot be seen", failure));
  }

  /** Whether nothing but this server lets the guest run, for all that is seen of it. */
  static boolean standsStill(Plan plan, GuestState seen) {
    if (plan.warm()) {
      return seen == GuestState.SHUTDOWN || seen == GuestState.PAUSED;
    }
    return plan.running()
        ? seen == GuestState.SENT || seen == GuestState.PAUSED
        : seen == GuestState.GONE || seen == GuestState.SHUTDOWN;
  }

  private void commitOnceBoth() {
    if (ready && seenStill) {
      migration.move(new Committing(migration));
    }
  }

  @Override
  void leave() {
    guestEnded.cancel(false);
  }

  @Override
  void cancel() {
    migration.backToOwned(cancelled(migration));
  }
}
