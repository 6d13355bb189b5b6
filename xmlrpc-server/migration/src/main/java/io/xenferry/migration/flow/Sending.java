package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * SENDING: opens at the destination, copies the disks until they converge while the process starts
 * there that receives the memory, and sends the memory beside the end of that, until the hypervisor
 * may pause the guest. The guest runs; any failure just leaves it running.
 */
final class Sending extends SourceStage {
  /** A destination that stalls whenever the guest is to stop would do so again. */
  private static final int PAUSES_ALLOWED = 3;

  /** A process whose stream breaks off ends within some tenths of a second, seen with QEMU 7.2. */
  private static final Duration RECEIVER_ENDS = Duration.ofSeconds(2);

  private boolean opened;
  private boolean converged;
  private boolean memoryBegun;
  private boolean memoryNearlySent;
  private int pauses;
  private CompletableFuture<GuestState> guestEnded = new CompletableFuture<>();

  Sending(SourceMigration migration) {
    super(migration, State.SENDING);
  }

  @Override
  void enter(boolean recovered) {
    if (recovered) {
      migration.backToOwned(
          migration.failure(
              "the source's server " + migration.interruption() + " during the migration"));
      return;
    }
    if (migration.plan().running()) {
      guestEnded = migration.watchGuest(this);
    }
    migration.after(
        this,
        host().deadlines().open(),
        () -> {
          if (!opened) {
            migration.backToOwned(
                migration.failure(
                    "the destination did not open within "
                        + host().deadlines().open().toSeconds()
                        + " s"));
          }
        });
    migration.step(
        this,
        "looking at the guest",
        host().deadlines().step(),
        () -> host().source().guests().observe(migration.plan().vm()),
        this::open,
        failure -> migration.failed(this, "the guest cannot be seen", failure));
  }

  /** Whoever started or stopped it before the gate was closed to them did so after the plan. */
  private void open(GuestState seen) {
    if (migration.plan().running() == (seen == GuestState.GONE)) {
      migration.backToOwned(
          migration.failure(
              "the VM was "
                  + (migration.plan().running() ? "stopped" : "started")
                  + " while its move was being prepared"));
      return;
    }
    Asking.ask(
        migration,
        this,
        "create and export the disks",
        new PeerMessage.Open(
            List.of(PeerAnswer.VERSION),
            migration.row().key(),
            host().ledger().incarnation(),
            host().self().url(),
            host().self().fingerprint(),
            migration.plan(),
            migration.row().metadata()),
        this::openAnswered);
  }

  private boolean openAnswered(PeerAnswer answer) {
    if (answer.refused()) {
      migration.backToOwned(refusedBy(answer));
      return true;
    }
    if (!counts(answer) || !answer.in(State.RECEIVING)) {
      return false;
    }
    List<UUID> asked = migration.plan().disks().stream().map(disk -> disk.vdi()).toList();
    if (!answer.targets().stream().map(target -> target.source()).toList().equals(asked)) {
      migration.backToOwned(migration.failure("the destination did not export every disk"));
      return true;
    }
    opened = true;
    migration.heartbeat(this);
    migration.watchProgress(this);
    migration.step(
        this,
        "connecting to the destination's disks",
        host().deadlines().step(),
        () -> host().source().copies().start(migration.id(), migration.plan(), answer.targets()),
        this::copying,
        failure -> migration.failed(this, "cannot write to the destination", failure),
        CopyJob::close);
    return true;
  }

  private void copying(CopyJob job) {
    migration.job(job);
    migration.phase("copying the disks");
    // Heard, not counted: one that is cancelled need never converge, and it is the clean-up, which
    // waits for what is counted, that ends the job.
    migration.hear(
        this,
        "copying the disks",
        SourceMigration.UNBOUNDED,
        job::converged,
        done -> {
          converged = true;
          if (migration.plan().running()) {
            prepareOnceBoth();
          } else {
            migration.move(new Switching(migration));
          }
        },
        failure -> migration.failed(this, "the copy failed", failure));
    if (migration.plan().running()) {
      startGuest();
      // What the guest writes into its memory meanwhile is sent again: the less of the disks is
      // left, the less that is. As much of either takes about as long.
      migration.hear(
          this,
          "copying the disks",
          SourceMigration.UNBOUNDED,
          () -> job.nearly(migration.plan().memoryBytes()),
          nearly -> {
            memoryBegun = true;
            migration.phase("waiting for the process that receives the memory");
            startGuest();
          },
          // The copy itself tells why.
          failure -> {});
    }
  }

  /**
   * Asked for twice: beside the copy, where a process that only waits costs the destination nothing
   * but room, and again when it is needed, in case it has died meanwhile.
   */
  private void startGuest() {
    boolean needed = memoryBegun;
    Asking.ask(
        migration,
        this,
        "start the process that receives the memory",
        new PeerMessage.StartGuest(),
        answer -> {
          if (!counts(answer)) {
            return false;
          }
          if (answer.refused()) {
            migration.backToOwned(refusedBy(answer));
          } else if (needed) {
            sendMemory();
          }
          return true;
        });
  }

  private void sendMemory() {
    MemoryTarget target =
        new MemoryTarget(
            migration.id(),
            migration.row().peerUrl(),
            migration.row().peerFingerprint(),
            migration.row().key());
    migration.step(
        this,
        "sending the memory",
        host().deadlines().memory(),
        () -> host().source().guests().sendMemory(migration.plan(), target),
        sent -> {
          memoryNearlySent = true;
          prepareOnceBoth();
        },
        failure -> migration.failed(this, "the memory could not be sent", failure));
  }

  /** Not before: the guest writes more slowly while its disks are mirrored. */
  private void prepareOnceBoth() {
    if (converged && memoryNearlySent) {
      prepareDisks(migration.plan().vm());
    } else if (memoryNearlySent) {
      migration.phase("copying the disks");
    }
  }

  private void prepareDisks(UUID vm) {
    CopyJob job = Objects.requireNonNull(migration.job(), "copied before");
    migration.phase("preparing the disks for the switch");
    migration.hear(
        this,
        "preparing the disks for the switch",
        SourceMigration.UNBOUNDED,
        job::prepareSwitch,
        prepared -> pause(vm),
        failure -> migration.failed(this, "the copy failed", failure));
  }

  private void pause(UUID vm) {
    pauses++;
    migration.step(
        this,
        "waiting for the hypervisor to pause the guest",
        host().deadlines().pause(),
        () -> host().source().guests().pause(migration.plan()),
        paused -> observe(vm),
        failure -> migration.failed(this, "the hypervisor did not pause the guest", failure));
  }

  private void observe(UUID vm) {
    migration.step(
        this,
        "checking that the guest is paused",
        host().deadlines().step(),
        () -> host().source().guests().observe(vm),
        seen -> {
          if (seen == GuestState.PRE_SWITCHOVER) {
            migration.guestPaused();
            migration.move(new Switching(migration));
          } else if (seen == GuestState.RUNNING && pauses < PAUSES_ALLOWED) {
            sendMemoryAgain();
          } else {
            migration.backToOwned(
                migration.failure("the guest is " + seen + " instead of paused for the switch"));
          }
        },
        failure -> fail("the guest cannot be seen", failure));
  }

  /**
   * As the hypervisor stops the guest it flushes all of its disks. A mirror that is cut off from a
   * destination that stalls just then fails that, and with it the sending of the memory: the guest
   * runs on, whole, and so does the copy.
   */
  private void sendMemoryAgain() {
    memoryNearlySent = false;
    migration.phase("sending the memory again, since the guest could not be stopped");
    migration.after(this, RECEIVER_ENDS, this::startGuest);
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
