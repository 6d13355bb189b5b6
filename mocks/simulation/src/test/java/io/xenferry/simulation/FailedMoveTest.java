package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A move that fails or is cancelled: the VM stays, nothing else does, and the reason is told. */
class FailedMoveTest extends Story {
  FailedMoveTest() {
    super(11);
  }

  @Test
  void aGuestThatTheHypervisorNeverStopsStays() {
    source.failingPauses = 100;
    start(request());
    run(Duration.ofSeconds(60));
    assertThat(source.failingPauses).isEqualTo(97);
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertStayed();
  }

  @ParameterizedTest
  @EnumSource(
      value = GuestState.class,
      names = {"SHUTDOWN", "GONE"})
  void aMoveWhoseGuestEndsByItselfSaysSoAndLeavesNothing(GuestState how) {
    CompletableFuture<MigrationStatus> outcome = start(request());
    reach("copying the disks");
    world.first.memoryLost = true;
    source.ends.byItself(how);
    Simulation.drive(world, Duration.ofSeconds(1), outcome::isDone);
    assertThat(failure(outcome).getMessage())
        .contains("while it was being moved")
        .endsWith("the VM stays at the source")
        .doesNotContain("still runs")
        .contains(how == GuestState.SHUTDOWN ? "shut down" : "stopped");
    run(Duration.ofSeconds(5));
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(source.shows(world.vm)).isTrue();
    assertOver();
  }

  private MigrationException fillsUp(BlockException.Kind told, boolean full) {
    CompletableFuture<MigrationStatus> outcome = start(request());
    reach("connecting to the destination's disks");
    destination.vdis.values().forEach(vdi -> vdi.disk.broken = told);
    destination.full = full;
    runUntil(outcome::isDone);
    run(Duration.ofSeconds(10));
    assertStayed();
    return failure(outcome);
  }

  @ParameterizedTest
  @EnumSource(
      value = BlockException.Kind.class,
      names = {"NO_SPACE", "IO"})
  void aDestinationThatFillsUpIsCalledFullWhateverItsTargetSays(BlockException.Kind told) {
    MigrationException failure = fillsUp(told, true);
    assertThat(failure.code()).isEqualTo("SR_FULL");
    assertThat(failure.params()).containsExactly("3", "2");
    assertThat(failure.getMessage()).contains("the destination's SR has filled up");
  }

  @Test
  void aBrokenMediumIsNotCalledFull() {
    MigrationException failure = fillsUp(BlockException.Kind.IO, false);
    assertThat(failure.code()).isEqualTo("VM_MIGRATE_FAILED");
    assertThat(failure.getMessage())
        .contains("the destination's disk fails")
        .doesNotContain("full");
  }

  @Test
  void aTargetThatSaysFullIsBelievedWhenTheDestinationDoesNot() {
    MigrationException failure = fillsUp(BlockException.Kind.NO_SPACE, false);
    assertThat(failure.code()).isEqualTo("VM_MIGRATE_FAILED");
    assertThat(failure.getMessage()).contains("the destination's SR is full");
  }

  @Test
  void aDestinationThatStaysAwayLetsTheSourceGoOnAndIsCleanedLater() {
    when(source, "SWITCHING", () -> kill(destination));
    move();
    run(Duration.ofSeconds(30));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(state(source)).isEqualTo(State.OWNED);
    comeBack(destination);
    run(Duration.ofMinutes(1));
    assertStayed();
  }

  @Test
  void aGuestThatNeverRanIsGivenBackAlsoByALedgerThatCannotBeWrittenForAWhile() {
    destination.refusingToRun = true;
    whenIn(
        destination,
        "checking that it is gone",
        () ->
            destination.ledgerFailsUntil =
                world.scheduler.nanoTime() + Duration.ofSeconds(5).toNanos());
    move();
    run(Duration.ofSeconds(3));
    assertThat(state(destination)).isEqualTo(State.STARTING);
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    run(Duration.ofMinutes(1));
    assertThat(state(destination)).isEqualTo(State.RETURNED);
    assertStayed();
  }

  @Test
  void cancelIsQuickAndCleanBeforeTheCommitAndRefusedAfterIt() {
    AtomicReference<CompletableFuture<Void>> asked = new AtomicReference<>();
    when(source, "SWITCHING", () -> asked.set(cancel()));
    move();
    runUntil(() -> asked.get() != null);
    long then = world.scheduler.nanoTime();
    runUntil(() -> source.allEnded() && destination.allEnded());
    assertThat(Duration.ofNanos(world.scheduler.nanoTime() - then))
        .isLessThan(Duration.ofSeconds(2));
    assertStayed();

    when(
        source,
        "COMMITTING",
        () -> {
          MigrationId second = source.ledgerDisk.rows().getLast().migration();
          asked.set(calls().cancel(second, Role.SOURCE));
        });
    move();
    run(Duration.ofSeconds(20));
    assertThat(asked.get()).isCompletedExceptionally();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void aCancelDoesNotWaitForALookAfterTheGuest() {
    CompletableFuture<MigrationStatus> outcome = start(request());
    reach("sending the memory");
    // The memory cannot be sent, and the hypervisor does not say what the guest is doing.
    destination.guests.clear();
    source.observing = Duration.ofHours(1);
    run(Duration.ofMillis(100));
    assertThat(state(source)).isEqualTo(State.SENDING);
    source.observing = Duration.ZERO;
    cancel();
    run(Duration.ofSeconds(5));
    assertThat(failure(outcome).code()).isEqualTo("TASK_CANCELLED");
    assertStayed(); // and nothing waits for the answer
    run(Duration.ofHours(2));
    assertThat(state(source)).as("the late answer changes nothing").isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void whatAClientHasPausedAfterACancelStaysSoWhenTheServerDies() {
    when(source, "SWITCHING", this::cancel);
    move();
    runUntil(() -> !source.ledgerDisk.rows().isEmpty() && state(source) == State.OWNED);
    SimGuest guest = process();
    world.onDurable =
        (host, what) -> {
          if (host == source && source.serverUp() && mayPause() && !guest.sending) {
            // By a suspend, as soon as the gate lets it, and long before all is cleaned up.
            assertThat(guest.state).isEqualTo(GuestState.RUNNING);
            assertThat(source.allEnded()).isFalse();
            guest.state = GuestState.PAUSED;
            guest.sending = true;
            source.crash("while it cleans up", false);
          }
        };
    assertThat(refusal(source, Operation.PAUSE)).contains("OTHER_OPERATION_IN_PROGRESS");
    run(Duration.ofSeconds(60));
    assertThat(source.serverUp()).isTrue();
    assertThat(source.allEnded()).isTrue();
    assertThat(guest.state).isEqualTo(GuestState.PAUSED);
    assertThat(guest.sending).as("what a client sends is not cancelled").isTrue();
    assertThat(mayPause()).isTrue();
  }

  private boolean mayPause() {
    return refusal(source, Operation.PAUSE).isEmpty();
  }
}
