package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** Moves that an operator carries on otherwise while they run, in the simulated world. */
class SteeringTest extends Story {
  /** Longer than any silence that is borne, and any step but the memory's. */
  private static final Duration LONG = Duration.ofMinutes(12);

  private static final Steering.Change HOLD = Steering.Change.of(CutOver.HOLD);
  private static final Steering.Change NOW = Steering.Change.of(CutOver.NOW);

  SteeringTest() {
    super(23);
  }

  private void moveOn(String... options) {
    start(request("auto", options));
  }

  private void hold() {
    moveOn(CutOver.OPTION, CutOver.HOLD.word());
  }

  private void steerIn(String phase, Steering.Change change) {
    whenIn(source, phase, () -> steer(change));
  }

  private void assertMovedOn() {
    assertMoved();
    assertThat(status().steering()).as("of what is past").isEmpty();
  }

  private void assertFollows(String phase) {
    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(status().phase()).isEqualTo(phase);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(process().sending).as("the memory is being sent").isFalse();
  }

  private static void assertTooLate(CompletableFuture<Void> asked) {
    assertThat(asked).isCompletedExceptionally();
    assertThat(failure(asked).code()).isEqualTo("OPERATION_NOT_ALLOWED");
  }

  @Test
  void aPausedMoveStandsStillForAsLongAsItIsWantedAndThenGoesOn() {
    steerIn("copying the disks", Steering.Change.PAUSE);
    moveOn();
    run(Duration.ofSeconds(5));
    assertFollows("paused by an operator");
    long sent = status().disks().getFirst().sent();

    run(LONG);

    assertFollows("paused by an operator");
    assertThat(status().disks().getFirst().sent()).isEqualTo(sent);
    steer(Steering.Change.RESUME);
    run(Duration.ofSeconds(20));
    assertMovedOn();
  }

  @Test
  void aPausedMoveIsCancelledAtOnce() {
    steerIn("copying the disks", Steering.Change.PAUSE);
    moveOn();
    run(Duration.ofSeconds(5));
    cancel();
    run(Duration.ofSeconds(2));
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    run(Duration.ofSeconds(20));
    assertThat(status().ended()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aHeldMoveFollowsTheGuestUntilItIsToldToCutOver() {
    hold();
    run(LONG);
    assertFollows("following the guest's writes until an operator lets it cut over");
    steer(NOW);
    run(Duration.ofSeconds(20));
    assertMovedOn();
  }

  @Test
  void aMoveWaitsForItsTime() {
    String at = world.scheduler.now().plus(LONG).toString();
    moveOn(CutOver.OPTION, at);
    run(LONG.minusSeconds(1));
    assertFollows("following the guest's writes until " + at);
    run(Duration.ofSeconds(20));
    assertMovedOn();
  }

  @Test
  void anotherTimeCountsFromThenOn() {
    hold();
    run(Duration.ofSeconds(30));
    steer(new CutOver(world.scheduler.now().plusSeconds(600), false));
    run(Duration.ofSeconds(30));
    steer(new CutOver(world.scheduler.now().plusSeconds(60), false));
    run(Duration.ofSeconds(58));
    assertThat(status().state()).isEqualTo(State.SENDING);
    run(Duration.ofSeconds(20));
    assertMovedOn();
  }

  /** However far it was: the guest goes on as if none of its memory had been sent. */
  @Test
  void theMemoryIsTakenBackWhenTheSwitchIsToWait() {
    List<String> phases =
        List.of(
            "waiting for the process that receives the memory",
            "sending the memory",
            "preparing the disks for the switch");
    for (String phase : phases) {
      steerIn(phase, phase.startsWith("sending") ? Steering.Change.PAUSE : HOLD);
    }
    moveOn();
    for (int i = 0; i < phases.size(); i++) {
      run(Duration.ofMinutes(1));
      assertThat(status().phase()).as(phases.get(i)).containsAnyOf("following", "paused");
      assertThat(status().state()).isEqualTo(State.SENDING);
      assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
      steer(CutOver.AUTO);
      steer(Steering.Change.RESUME);
    }
    run(Duration.ofSeconds(30));
    assertMovedOn();
  }

  @Test
  void onceTheGuestIsBeingStoppedItIsTooLate() {
    List<CompletableFuture<Void>> asked = new ArrayList<>();
    whenIn(source, "waiting for the hypervisor to pause the guest", () -> asked.add(steer(HOLD)));
    for (State state : List.of(State.SWITCHING, State.COMMITTING, State.GIVEN)) {
      whenIn(
          source,
          state.phase(),
          () -> {
            asked.add(steer(Steering.Change.PAUSE));
            asked.add(steer(CutOver.AUTO));
          });
    }
    moveOn();
    run(Duration.ofSeconds(20));
    assertMovedOn();
    asked.add(steer(NOW));
    run(Duration.ofSeconds(1));
    assertThat(asked).hasSize(8).allSatisfy(SteeringTest::assertTooLate);
  }

  @Test
  void theStrategyIsChangedWhileItFollows() {
    hold();
    run(Duration.ofSeconds(20));
    assertThat(status().disks()).allMatch(disk -> disk.strategy().equals("log-dirty"));
    steer(Steering.Change.ofStrategy("mirror"));
    run(Duration.ofSeconds(20));
    assertThat(status().disks()).allMatch(disk -> disk.strategy().equals("mirror"));
    steer(Steering.Change.ofStrategy("log-dirty"));
    run(Duration.ofSeconds(20));
    assertThat(status().disks()).allMatch(disk -> disk.strategy().equals("log-dirty"));
    steer(NOW);
    run(Duration.ofSeconds(20));
    assertMovedOn();
  }

  @Test
  void theDestinationLeavesItToTheSource() {
    hold();
    run(Duration.ofSeconds(20));
    CompletableFuture<Void> asked =
        server(destination).steer(id(source), Role.DESTINATION, Steering.Change.PAUSE);
    run(Duration.ofSeconds(1));
    assertTooLate(asked);
    assertThat(failure(asked).params().getFirst()).contains("only at its source");
  }

  @Test
  void aMoveStaysHeldWhenTheSourceIsRestarted() {
    hold();
    run(Duration.ofSeconds(30));
    kill(source);
    run(Duration.ofSeconds(1));
    comeBack(source);
    run(Duration.ofMinutes(2));
    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    steer(CutOver.AUTO);
    run(Duration.ofMinutes(1));
    assertMovedOn();
  }
}
