package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** A move that succeeds, also at the second attempt; its phases, and when success is told. */
class MoveTest extends Story {
  private static final String WITH_A_CLIENT = "waiting until nothing else goes on with the VM";

  MoveTest() {
    super(11);
  }

  @Test
  void aRunningVmMoves() {
    move();
    run(Duration.ofSeconds(20));
    assertMoved();
    assertThat(status().ended()).isTrue();
    assertThat(status().progress()).isEqualTo(1);
    assertThat(status().downtime().orElseThrow()).isLessThan(Duration.ofSeconds(1));
  }

  /** What passed the gate while the guest ran could let it run here again after the decision. */
  @Test
  void theGuestIsNotPausedWhileAClientResetsItAndNotResetOnceItIs() throws XenApiException {
    move(CutOver.OPTION, CutOver.HOLD.word());
    run(Duration.ofSeconds(3));
    try (var held = gate(source).enter(world.vm, Operation.RESET)) {
      steer(CutOver.AUTO);
      reach(WITH_A_CLIENT);
      run(Duration.ofMinutes(1));
      assertThat(status().state()).isEqualTo(State.SENDING);
      assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    }
    List<String> refused = new ArrayList<>();
    whenIn(
        source,
        "waiting for the hypervisor to pause the guest",
        () -> refused.add(refusal(source, Operation.RESET)));
    run(Duration.ofSeconds(20));
    assertMoved();
    assertThat(refused).singleElement().asString().contains("being paused for its move");
  }

  /** A client's operation has passed the gate when the memory is already on its way. */
  private Gate.Permit moveBesideAClient() {
    List<Gate.Permit> held = new ArrayList<>();
    whenIn(
        source,
        "sending the memory",
        () -> {
          try {
            held.add(gate(source).enter(world.vm, Operation.SHUTDOWN));
          } catch (XenApiException e) {
            throw new AssertionError(e);
          }
        });
    move();
    reach(WITH_A_CLIENT);
    return held.getFirst();
  }

  /** As while a guest does not heed its power button; all that time its memory would be sent. */
  @Test
  void aMemoryThatWaitsForAClientIsTakenBackAfterAMinute() {
    try (Gate.Permit held = moveBesideAClient()) {
      run(Duration.ofSeconds(50));
      assertThat(process().sending).isTrue();
      runUntil(() -> !process().sending);
      reach(WITH_A_CLIENT);
      for (int minute = 0; minute < 5; minute++) {
        assertThat(process().sending).isFalse();
        assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
        assertThat(status().phase()).isEqualTo(WITH_A_CLIENT);
        run(Duration.ofMinutes(1));
      }
      assertThat(status().state()).isEqualTo(State.SENDING);
    }
    run(Duration.ofSeconds(20));
    assertMoved();
  }

  /** A client who comes back each time does not put the move off for ever. */
  @Test
  void aMemoryIsTakenBackForAClientOnce() throws XenApiException {
    try (Gate.Permit held = moveBesideAClient()) {
      runUntil(() -> !process().sending);
    }
    try (Gate.Permit again = comesBackWhileTheMemoryIsSent()) {
      run(Duration.ofMinutes(10));
      assertThat(process().sending).isTrue();
      assertThat(status().state()).isEqualTo(State.SENDING);
    }
    run(Duration.ofSeconds(3));
    assertMoved();
  }

  private Gate.Permit comesBackWhileTheMemoryIsSent() throws XenApiException {
    runUntil(() -> process().sending);
    return gate(source).enter(world.vm, Operation.SHUTDOWN);
  }

  @Test
  void whatWasWaitedForIsNotShownAnyMoreOnceTheWaitIsOver() {
    source.failingPauses = 1;
    List<String> phases = new ArrayList<>();
    try (Gate.Permit held = moveBesideAClient()) {
      server(source).listen(status -> phases.add(status.phase()));
    }
    run(Duration.ofSeconds(20));
    assertMoved();
    String pausing = "waiting for the hypervisor to pause the guest";
    assertThat(phases.subList(phases.indexOf(pausing), phases.size()))
        .containsSubsequence(pausing, "preparing the disks for the switch", pausing)
        .doesNotContain(WITH_A_CLIENT);
  }

  @Test
  void aTokenIsGoodForOneMigrationOnly() {
    move();
    run(Duration.ofSeconds(20));
    assertMoved();
    assertThat(destination.ledgerDisk.rows()).hasSize(1);
  }

  @Test
  void theProcessThatReceivesIsThereBeforeTheDisksAreCopied() {
    boolean[] there = {false};
    whenIn(
        source,
        "waiting for the process that receives the memory",
        () -> there[0] = guest(destination) == GuestState.INCOMING);
    start(request());
    run(Duration.ofSeconds(20));
    assertThat(there[0]).isTrue();
    assertMoved();
  }

  @Test
  void aReceivingProcessThatDiedWhileTheDisksWereCopiedIsStartedAnew() {
    boolean[] died = {false};
    whenIn(
        source,
        "waiting for the process that receives the memory",
        () -> died[0] = destination.guests.remove(world.vm) != null);
    start(request());
    run(Duration.ofSeconds(20));
    assertThat(died[0]).isTrue();
    assertMoved();
  }

  @Test
  void aGuestThatTheHypervisorCouldNotStopIsSentOnceMore() {
    source.failingPauses = 2;
    start(request());
    run(Duration.ofSeconds(40));
    assertThat(source.failingPauses).isZero();
    assertMoved();
  }

  /** Every phase, in the order in which it was first shown, by the states that showed it. */
  private Map<String, Set<State>> phasesOfAMove() {
    Map<String, Set<State>> shown = new LinkedHashMap<>();
    for (SimHost host : world.hosts) {
      server(host)
          .listen(status ->
              shown
                  .computeIfAbsent(status.phase(), phase -> EnumSet.noneOf(State.class))
                  .add(status.state()));
    }
    move();
    run(Duration.ofSeconds(20));
    return shown;
  }

  @Test
  void everyStateBeginsWithAPhaseOfItsOwn() {
    assertThat(Arrays.stream(State.values()).map(State::phase)).doesNotHaveDuplicates();
    Map<String, Set<State>> shown = phasesOfAMove();
    shown.remove("ended");
    assertThat(shown)
        .allSatisfy((phase, states) -> assertThat(states).as(phase).hasSize(1))
        .containsKeys(
            State.SENDING.phase(),
            State.SWITCHING.phase(),
            State.COMMITTING.phase(),
            State.GIVEN.phase(),
            State.RECEIVING.phase(),
            State.READY.phase(),
            State.COMMITTED.phase(),
            State.STARTING.phase(),
            State.RUNNING.phase());
  }

  @Test
  void aMoveThatIsTakenBackSaysSoAtBothHosts() {
    when(source, "SWITCHING", this::cancel);
    Map<String, Set<State>> shown = phasesOfAMove();
    assertThat(shown.get(State.OWNED.phase())).containsExactly(State.OWNED);
    assertThat(shown.get(State.ABORTED.phase())).containsExactly(State.ABORTED);
  }

  @Test
  void successIsToldWhenTheVmIsShownAndNothingIsLeft() {
    List<String> seen = new ArrayList<>();
    CompletableFuture<Void> told =
        start(request())
            .thenAccept(status -> {
              seen.add(destination.shows(world.vm) ? "shown" : "hidden");
              seen.add(source.vms.isEmpty() ? "removed" : "still at the source");
            });
    runUntil(told::isDone);
    assertThat(seen).containsExactly("shown", "removed");
  }

  @Test
  void aDestinationThatDiesAfterItRanDelaysTheSuccessAndNoMore() {
    when(source, "GIVEN", () -> kill(destination));
    CompletableFuture<MigrationStatus> outcome = start(request());
    runUntil(outcome::isDone);
    assertThat(outcome).isCompleted();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(state(source)).isEqualTo(State.GIVEN);
    comeBack(destination);
    run(Duration.ofSeconds(30));
    assertMoved();
  }
}
