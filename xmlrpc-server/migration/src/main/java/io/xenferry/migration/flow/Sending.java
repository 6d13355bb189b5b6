package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.ports.SourcePorts.Copies;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.migration.state.WarmMove;
import io.xenferry.model.XenApiException;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * SENDING: opens at the destination, copies the disks until they converge while the process starts
 * there that receives the memory, and sends the memory beside the end of that, until the hypervisor
 * may pause the guest. The guest runs; any failure just leaves it running. One that moves warm is
 * asked to shut down instead ({@link WarmStop}).
 *
 * <p>A server that is started anew goes on: it ends the memory's stream, if there was one, has the
 * destination fence whatever the server before has sent, and takes up the copy from its durable
 * log. Where something is not as it must be the VM stays.
 *
 * <p>An operator may hold it up, by a pause or until a time: the disks then follow the guest, and
 * the memory, which would have to be sent again and again, is left where it is. So may a client
 * whose operation on the VM takes its time, as a clean shutdown of a guest that is deaf to it.
 */
final class Sending extends SourceStage {
  private static final String COPYING = "copying the disks";
  private static final String PREPARING = "preparing the disks for the switch";
  private static final String AGAIN =
      "sending the memory again, since the guest could not be stopped";
  private static final Logger LOG = LoggerFactory.getLogger(Sending.class);

  /** A destination that stalls whenever the guest is to stop would do so again. */
  private static final int PAUSES_ALLOWED = 3;

  /** The memory's stream ends with the destination's server, and is begun anew with the next. */
  private static final int BROKEN_STREAMS_ALLOWED = 3;

  /** A process whose stream breaks off ends within some tenths of a second, seen with QEMU 7.2. */
  private static final Duration RECEIVER_ENDS = Duration.ofSeconds(2);

  /** How late a time may be noticed by the wall clock, which may be set meanwhile. */
  private static final Duration LOOK_AT_THE_CLOCK = Duration.ofSeconds(10);

  /**
   * How often it is seen whether a client has let go of the VM before its memory, which is sent
   * again and again meanwhile, is taken back, the first time: a guest that does not heed its power
   * button may keep its client for 20 minutes.
   */
  private static final long LOOKS_ALLOWED = Duration.ofMinutes(1).dividedBy(WarmStop.LOOK);

  private boolean converged;
  private @Nullable WarmStop warm;
  private boolean stoppingLater;

  /** The phase says what a stop waits for. */
  private boolean putOff;

  /** How often the guest could not be paused for a client, with its memory sent. */
  private long looks;

  /** Once: a client who comes back whenever it was would put the move off for ever. */
  private boolean takenBackForClient;

  /** As little is left of the disks as there is memory. */
  private boolean nearlyConverged;

  private Memory memory = Memory.NOT_BEGUN;

  /** Counts the times that the memory was begun with; what is said of an earlier one is old. */
  private int beginning;

  private Gate.@Nullable Permit alone;
  private int pauses;
  private int brokenStreams;
  private Scheduler.@Nullable Cancellable clock;
  private CompletableFuture<GuestState> guestEnded = new CompletableFuture<>();

  /**
   * How far the guest's memory is.
   *
   * <pre>
   *   NOT_BEGUN → BEGUN → NEARLY_SENT → PREPARING → STOPPING
   *       ↑__________|_________|____________| taken back: somebody holds the switch up
   *                  ↑__________________________________| the guest could not be stopped
   * </pre>
   */
  private enum Memory {
    NOT_BEGUN,
    BEGUN,
    NEARLY_SENT,
    /** The disks are made ready for the switch. */
    PREPARING,
    /** The hypervisor has been asked to pause the guest. */
    STOPPING,
    TAKING_BACK
  }

  Sending(SourceMigration migration) {
    super(migration, State.SENDING);
  }

  @Override
  void enter(boolean recovered) {
    if (recovered && !migration.mayGoOn()) {
      migration.backToOwned(migration.interrupted());
      return;
    }
    if (migration.plan().running()) {
      guestEnded = migration.watchGuest(this, this::awaited);
    }
    Opening opening = new Opening(migration, this, answer -> connect(answer, recovered));
    if (recovered) {
      opening.beginAgain();
    } else {
      opening.begin();
    }
  }

  /**
   * @param again whether a server before this one has begun the copy
   */
  private void connect(PeerAnswer answer, boolean again) {
    PeerDisks there = new PeerDisks(migration, answer.holdings().based());
    migration.watchProgress(this);
    Copies copies = host().source().copies();
    step(
        "connecting to the destination's disks",
        host().deadlines().step(),
        () ->
            again
                ? copies.goOn(migration.id(), migration.steered(), answer.targets(), there)
                : copies.start(migration.id(), migration.steered(), answer.targets(), there),
        this::copying,
        failure -> migration.failed(this, "cannot write to the destination", failure),
        CopyJob::close);
  }

  private void copying(CopyJob job) {
    migration.job(job);
    migration.phase(COPYING);
    // Heard, not counted: one that is cancelled need never converge, and it is the clean-up, which
    // waits for what is counted, that ends the job.
    hear(
        COPYING,
        SourceMigration.UNBOUNDED,
        job::ended,
        done -> {},
        failure -> migration.failed(this, "the copy failed", failure));
    hear(
        COPYING,
        SourceMigration.UNBOUNDED,
        job::converged,
        done -> {
          converged = true;
          goOn();
        },
        // The copy itself tells why, here and below.
        failure -> {});
    if (migration.plan().live()) {
      startGuest();
      // What the guest writes into its memory meanwhile is sent again: the less of the disks is
      // left, the less that is. As much of either takes about as long.
      hear(
          COPYING,
          SourceMigration.UNBOUNDED,
          () -> job.nearly(migration.plan().memoryBytes()),
          nearly -> {
            nearlyConverged = true;
            goOn();
          },
          failure -> {});
    }
    goOn();
  }

  /** Begins what is due, and no operator wants to wait. */
  private void goOn() {
    CopyJob job = migration.job();
    if (job == null || memory == Memory.STOPPING || memory == Memory.TAKING_BACK) {
      return;
    }
    if (migration.holds()) {
      awaitOperator(job);
    } else if (!migration.plan().live()) {
      if (!converged) {
        migration.phase(COPYING);
      } else if (memory == Memory.NOT_BEGUN) {
        WarmMove.of(migration.plan())
            .ifPresentOrElse(how -> prepareDisks(job, () -> stopWarm(job, how)), this::switchOver);
      }
    } else {
      switch (memory) {
        case NOT_BEGUN -> {
          if (!nearlyConverged) {
            migration.phase(COPYING);
          } else if (host().gate().isEntered(migration.plan().vm())) {
            awaitClient(job);
          } else {
            job.holdSwitch(false);
            beginMemory("waiting for the process that receives the memory");
          }
        }
        case NEARLY_SENT -> {
          if (converged) {
            // Not before: the guest writes more slowly while its disks are mirrored.
            prepareDisks(job, () -> pause(migration.plan().vm()));
          } else {
            migration.phase(COPYING);
          }
        }
        case BEGUN, PREPARING, STOPPING, TAKING_BACK -> {}
      }
    }
  }

  private boolean awaited(GuestState ended) {
    if (warm != null && warm.ended(ended)) {
      return true;
    }
    boolean toldByAnother = migration.toldToStop() && ended == GuestState.SHUTDOWN;
    if (toldByAnother) { // by the server before this one; it boots again
      migration.backToOwned(migration.interrupted());
    }
    return toldByAnother;
  }

  private void switchOver() {
    memory = Memory.STOPPING;
    migration.move(new Switching(migration));
  }

  /**
   * More may have been written since the copy converged, as while an operator held it: that is sent
   * before the guest is stopped.
   */
  private void prepareDisks(CopyJob job, Runnable stop) {
    int which = beginning;
    memory = Memory.PREPARING;
    if (!putOff) {
      migration.phase(PREPARING);
    }
    hear(
        PREPARING,
        SourceMigration.UNBOUNDED,
        job::prepareSwitch,
        prepared -> {
          if (which == beginning) {
            stop.run();
          }
        },
        failure -> migration.failed(this, "the copy failed", failure));
  }

  /** In place of the memory: the guest shuts down, and boots at the destination. */
  private void stopWarm(CopyJob job, WarmMove how) {
    memory = Memory.STOPPING;
    WarmStop stop = new WarmStop(migration, this, job, how, this::stopLater);
    warm = stop;
    stop.begin();
  }

  private void stopLater() {
    stopLater(Memory.NOT_BEGUN);
  }

  /** Something is in the way; meanwhile an operator may still hold it up. */
  private void stopLater(Memory from) {
    memory = from;
    putOff = true;
    if (!stoppingLater) {
      stoppingLater = true;
      after(
          WarmStop.LOOK,
          () -> {
            stoppingLater = false;
            goOn();
          });
    }
  }

  /** Follows the guest, and keeps an eye on the clock. */
  private void awaitOperator(CopyJob job) {
    if (memory != Memory.NOT_BEGUN && migration.plan().live()) {
      takeMemoryBack();
      return;
    }
    memory = Memory.NOT_BEGUN;
    beginning++;
    putOff = false;
    CutOver when = migration.steering().map(Steering::cutOver).orElse(CutOver.AUTO);
    if (migration.steering().filter(Steering::paused).isPresent()) {
      migration.phase("paused by an operator");
    } else if (!converged) {
      migration.phase(COPYING);
    } else {
      migration.phase(
          "following the guest's writes until "
              + (when.timed() ? when.word() : "an operator lets it cut over"));
    }
    if (clock == null && when.timed()) {
      Duration left = Duration.between(host().scheduler().now(), when.notBefore());
      clock =
          after(
              left.compareTo(LOOK_AT_THE_CLOCK) < 0 ? left : LOOK_AT_THE_CLOCK,
              () -> {
                clock = null;
                job.holdSwitch(migration.holds());
                goOn();
              });
    }
  }

  /** The disks follow the guest, which is slowed no further for a switch that cannot be. */
  private void awaitClient(CopyJob job) {
    job.holdSwitch(true);
    migration.phase(WarmStop.BUSY);
    stopLater(Memory.NOT_BEGUN);
  }

  private void beginMemory(String phase) {
    memory = Memory.BEGUN;
    beginning++;
    putOff = false;
    looks = 0;
    migration.phase(phase);
    startGuest();
  }

  /** The guest goes on as if none of it had been sent; the process at the destination ends. */
  private void takeMemoryBack() {
    memory = Memory.TAKING_BACK;
    beginning++;
    step(
        "taking the memory back, since the switch is to wait",
        () -> host().source().guests().cancelMemory(migration.plan().vm()),
        done -> memoryTakenBack(),
        failure -> migration.failed(this, "the memory could not be taken back", failure));
  }

  private void memoryTakenBack() {
    after(
        RECEIVER_ENDS,
        () -> {
          memory = Memory.NOT_BEGUN;
          goOn();
        });
  }

  /**
   * Asked for twice: beside the copy, where a process that only waits costs the destination nothing
   * but room, and again when it is needed, in case it has died meanwhile.
   */
  private void startGuest() {
    int which = beginning;
    boolean needed = memory == Memory.BEGUN;
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
          } else if (needed && which == beginning) {
            sendMemory();
          }
          return true;
        });
  }

  private void sendMemory() {
    int which = beginning;
    MemoryTarget target =
        new MemoryTarget(
            migration.id(),
            migration.row().peerUrl(),
            migration.row().peerFingerprint(),
            migration.row().key());
    step(
        "sending the memory",
        host().deadlines().memory(),
        () -> host().source().guests().sendMemory(migration.steered(), target),
        sent -> {
          if (which == beginning) {
            memory = Memory.NEARLY_SENT;
            goOn();
          }
        },
        failure -> {
          if (which == beginning) {
            streamFailed("the memory could not be sent", failure);
          }
        });
  }

  /**
   * The destination's server may have been restarted, or the connection cut. The guest runs on, as
   * a rule, and its memory is sent anew once the destination answers; one that has ended or is
   * paused ends the move, as does a memory that takes too long.
   */
  private void streamFailed(String what, Throwable cause) {
    letClientsIn();
    if (cause instanceof MigrationException || brokenStreams >= BROKEN_STREAMS_ALLOWED) {
      migration.failed(this, what, cause);
      return;
    }
    brokenStreams++;
    LOG.info("{}: {}, and the guest goes on: {}", migration.row(), what, cause.toString());
    memory = Memory.TAKING_BACK;
    beginning++;
    step(
        "ending the memory's stream, which has broken",
        () -> host().source().guests().cancelMemory(migration.plan().vm()),
        done ->
            hear(
                "looking after the guest",
                () -> host().source().guests().observe(migration.plan().vm()),
                seen -> {
                  if (seen == GuestState.RUNNING) {
                    memoryTakenBack();
                  } else {
                    migration.failed(this, what, cause);
                  }
                },
                unseen -> migration.failed(this, what, cause)),
        failure -> migration.failed(this, what, cause));
  }

  @Override
  void steer(Steering.Change change) {
    Steering next = migration.steering().orElseThrow().with(change);
    if (memory == Memory.STOPPING && next.holds(host().scheduler().now())) {
      throw new MigrationException(
          "OPERATION_NOT_ALLOWED",
          List.of("The guest is being stopped for the switch: it is too late to wait."),
          "hold while stopping");
    }
    if (change.strategy().isPresent() && !mayChangeStrategy()) {
      throw new MigrationException(
          "OPERATION_NOT_ALLOWED",
          List.of(
              "Disks that nobody writes, or that are copied by snapshots, go on as they began, and so"
                  + " do those of a warm move."),
          "another strategy");
    }
    migration.change(next);
    if (migration.plan().live()
        && (memory == Memory.BEGUN || memory == Memory.NEARLY_SENT || memory == Memory.PREPARING)) {
      hear(
          "limiting the memory",
          () -> host().source().guests().limits(migration.steered()),
          done -> {},
          failure -> LOG.warn("{}: the memory's limit is as it was", migration.row(), failure));
    }
    if (clock != null) {
      clock.cancel();
      clock = null;
    }
    goOn();
  }

  private boolean mayChangeStrategy() {
    return migration.plan().live()
        && migration.plan().disks().stream()
            .noneMatch(disk -> !disk.readOnly() && disk.strategy().equals("snapshot"));
  }

  /**
   * Once no client's operation is under way, and none passes the gate: a reset that has passed it
   * while the guest ran would let it run again here, after the decision too.
   */
  private void pause(UUID vm) {
    try {
      alone = host().gate().claim(vm, "it is being paused for its move");
    } catch (XenApiException e) {
      migration.phase(WarmStop.BUSY);
      looks++;
      if (looks < LOOKS_ALLOWED || takenBackForClient) {
        stopLater(Memory.NEARLY_SENT);
      } else {
        takenBackForClient = true;
        takeMemoryBack();
      }
      return;
    }
    putOff = false;
    memory = Memory.STOPPING;
    pauses++;
    step(
        "waiting for the hypervisor to pause the guest",
        host().deadlines().pause(),
        () -> host().source().guests().pause(migration.steered()),
        paused -> observe(vm),
        failure -> streamFailed("the hypervisor did not pause the guest", failure));
  }

  private void observe(UUID vm) {
    step(
        "checking that the guest is paused",
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
    letClientsIn();
    memory = Memory.TAKING_BACK;
    migration.phase(AGAIN);
    after(
        RECEIVER_ENDS,
        () -> {
          memory = Memory.NOT_BEGUN;
          if (migration.holds() || host().gate().isEntered(migration.plan().vm())) {
            goOn();
          } else {
            beginMemory(AGAIN);
          }
        });
  }

  private void letClientsIn() {
    Gate.Permit held = alone;
    if (held != null) {
      alone = null;
      held.close();
    }
  }

  /** The state is another, durably, which now says what clients may do. */
  @Override
  void leave() {
    letClientsIn();
    guestEnded.cancel(false);
    if (warm != null) {
      warm.leave();
    }
  }

  @Override
  void cancel() {
    migration.backToOwned(cancelled(migration));
  }
}
