package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import java.util.List;
import java.util.UUID;
import java.util.function.Consumer;

/**
 * How SENDING begins: the guest is looked at, and the destination creates and exports the disks. A
 * server that is started anew ends the memory's stream first, if there was one, and has the
 * destination fence whatever the server before has sent.
 */
final class Opening {
  private final SourceMigration migration;
  private final Sending owner;
  private final Consumer<PeerAnswer> opened;
  private boolean done;
  private boolean again;

  /**
   * @param opened gets the answer that says where to write, once
   */
  Opening(SourceMigration migration, Sending owner, Consumer<PeerAnswer> opened) {
    this.migration = migration;
    this.owner = owner;
    this.opened = opened;
  }

  private Host host() {
    return migration.host();
  }

  private Plan plan() {
    return migration.plan();
  }

  void begin() {
    owner.after(
        host().deadlines().open(),
        () -> {
          if (!done) {
            migration.backToOwned(
                migration.failure(
                    "the destination did not open within "
                        + host().deadlines().open().toSeconds()
                        + " s"));
          }
        });
    look();
  }

  /** The destination is waited for as long as for one that goes silent. */
  void beginAgain() {
    again = true;
    migration.heartbeat(owner);
    if (!plan().running()) {
      look();
      return;
    }
    owner.step(
        "ending the memory's stream of the server before",
        () -> host().source().guests().cancelMemory(plan().vm()),
        ended -> look(),
        failure -> migration.failed(owner, "the memory's stream could not be ended", failure));
  }

  private void look() {
    owner.step(
        "looking at the guest",
        () -> host().source().guests().observe(plan().vm()),
        this::open,
        failure -> migration.failed(owner, "the guest cannot be seen", failure));
  }

  /** Whoever started or stopped it before the gate was closed to them did so after the plan. */
  private void open(GuestState seen) {
    if (plan().running() == (seen == GuestState.GONE)) {
      migration.backToOwnedAsItIs(
          again && plan().running()
              ? migration.stopped(seen)
              : migration.failure(
                  "the VM was "
                      + (plan().running() ? "stopped" : "started")
                      + " while its move was being prepared"));
      return;
    }
    if (again && plan().running() && seen != GuestState.RUNNING) {
      // It was about to be stopped for the switch, and goes on at once where it is.
      migration.backToOwned(migration.interrupted());
      return;
    }
    Asking.ask(
        migration,
        owner,
        "create and export the disks",
        new PeerMessage.Open(
            List.of(PeerAnswer.VERSION),
            migration.row().key(),
            host().ledger().incarnation(),
            host().self().url(),
            host().self().fingerprint(),
            plan(),
            migration.row().metadata()),
        this::answered);
  }

  private boolean answered(PeerAnswer answer) {
    if (answer.refused()) {
      migration.backToOwned(owner.refusedBy(answer));
      return true;
    }
    if (!owner.counts(answer) || !answer.in(State.RECEIVING)) {
      return false;
    }
    if (!complete(answer)) {
      return true;
    }
    done = true;
    if (again) {
      reopen();
    } else {
      migration.heartbeat(owner);
      opened.accept(answer);
    }
    return true;
  }

  private boolean complete(PeerAnswer answer) {
    List<UUID> asked = plan().disks().stream().map(Plan.Disk::vdi).toList();
    boolean all = answer.targets().stream().map(DiskTarget::source).toList().equals(asked);
    if (!all) {
      migration.backToOwned(migration.failure("the destination did not export every disk"));
    }
    return all;
  }

  /** What the server before has sent may be under way still. */
  private void reopen() {
    Asking.ask(
        migration,
        owner,
        "fence what the server before has sent",
        new PeerMessage.Reopen(host().random().uuid()),
        answer -> {
          if (!owner.counts(answer)) {
            return false;
          }
          if (answer.refused()) {
            migration.backToOwned(owner.refusedBy(answer));
          } else if (!answer.in(State.RECEIVING)) {
            return false;
          } else if (complete(answer)) {
            migration.note(row -> row.withBoot(host().boot()));
            opened.accept(answer);
          }
          return true;
        });
  }
}
