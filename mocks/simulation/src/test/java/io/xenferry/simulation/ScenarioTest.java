package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Single stories in the simulated world, without chance faults. */
class ScenarioTest {
  private final List<String> trace = new ArrayList<>();
  private final World world = new World(11, Faults.NONE, Variant.SOUND, trace);
  private final SimHost source = world.hosts.get(0);
  private final SimHost destination = world.hosts.get(1);

  @BeforeEach
  void begin() {
    Simulation.populate(world, true);
    world.hosts.forEach(SimHost::startServer);
    world.tick();
    run(Duration.ofMillis(200));
  }

  private void run(Duration duration) {
    Simulation.drive(world, duration, () -> false);
  }

  private void move() {
    new Clients(world, 1).move(source);
  }

  private static Coordinator server(SimHost host) {
    return Objects.requireNonNull(host.coordinator);
  }

  private static State state(SimHost host) {
    return host.ledgerDisk.rows().getFirst().state();
  }

  private static MigrationId id(SimHost host) {
    return host.ledgerDisk.rows().getFirst().migration();
  }

  private GuestState guest(SimHost host) {
    SimGuest guest = host.guests.get(world.vm);
    return guest == null ? GuestState.GONE : guest.state;
  }

  /** Does something once, when a record of the host has become durable. */
  private void when(SimHost host, String record, Runnable action) {
    boolean[] done = {false};
    world.onDurable =
        (at, what) -> {
          if (at == host && what.equals(record) && !done[0]) {
            done[0] = true;
            action.run();
          }
        };
  }

  @Test
  void aRunningVmMoves() {
    move();
    run(Duration.ofSeconds(20));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(source.vms).isEmpty();
    assertThat(source.vdis).isEmpty();
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
    assertThat(server(source).statuses().getFirst().ended()).isTrue();
    assertThat(server(source).statuses().getFirst().progress()).isEqualTo(1);
    assertThat(server(source).statuses().getFirst().downtime().orElseThrow())
        .isLessThan(Duration.ofSeconds(1));
  }

  /** Does something once, when a move has come to a phase. */
  private void whenIn(SimHost host, String phase, Runnable action) {
    boolean[] done = {false};
    server(host)
        .listen(status -> {
          if (status.phase().equals(phase) && !done[0]) {
            done[0] = true;
            action.run();
          }
        });
  }

  @Test
  void theProcessThatReceivesIsThereBeforeTheDisksAreCopied() {
    boolean[] there = {false};
    whenIn(
        source,
        "waiting for the process that receives the memory",
        () -> there[0] = guest(destination) == GuestState.INCOMING);
    server(source).start(request(List.of("sr", "sr")));
    run(Duration.ofSeconds(20));
    assertThat(there[0]).isTrue();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void aReceivingProcessThatDiedWhileTheDisksWereCopiedIsStartedAnew() {
    boolean[] died = {false};
    whenIn(
        source,
        "waiting for the process that receives the memory",
        () -> died[0] = destination.guests.remove(world.vm) != null);
    server(source).start(request(List.of("sr", "sr")));
    run(Duration.ofSeconds(20));
    assertThat(died[0]).isTrue();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aGuestThatTheHypervisorCouldNotStopIsSentOnceMore() {
    source.failingPauses = 2;
    server(source).start(request(List.of("sr", "sr")));
    run(Duration.ofSeconds(40));
    assertThat(source.failingPauses).isZero();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aGuestThatTheHypervisorNeverStopsStays() {
    source.failingPauses = 100;
    server(source).start(request(List.of("sr", "sr")));
    run(Duration.ofSeconds(60));
    assertThat(source.failingPauses).isEqualTo(97);
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    assertThat(destination.leftovers()).isEmpty();
  }

  /** Every phase, in the order in which it was first shown, by the states that showed it. */
  private Map<String, Set<State>> phasesOf(Runnable story) {
    Map<String, Set<State>> shown = new LinkedHashMap<>();
    for (SimHost host : world.hosts) {
      server(host)
          .listen(status ->
              shown
                  .computeIfAbsent(status.phase(), phase -> EnumSet.noneOf(State.class))
                  .add(status.state()));
    }
    story.run();
    return shown;
  }

  @Test
  void everyStateBeginsWithAPhaseOfItsOwn() {
    assertThat(Arrays.stream(State.values()).map(State::phase)).doesNotHaveDuplicates();
    Map<String, Set<State>> shown =
        phasesOf(() -> {
          move();
          run(Duration.ofSeconds(20));
        });
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
    when(source, "SWITCHING", () -> server(source).cancel(id(source), Role.SOURCE));
    Map<String, Set<State>> shown =
        phasesOf(() -> {
          move();
          run(Duration.ofSeconds(20));
        });
    assertThat(shown.get(State.OWNED.phase())).containsExactly(State.OWNED);
    assertThat(shown.get(State.ABORTED.phase())).containsExactly(State.ABORTED);
  }

  @Test
  void whatAClientHasPausedAfterACancelStaysSoWhenTheServerDies() throws XenApiException {
    reachCancelled();
    SimGuest guest = Objects.requireNonNull(source.guests.get(world.vm));
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
    assertThatThrownBy(() -> gate(source).enter(world.vm, Operation.PAUSE))
        .hasMessageContaining("OTHER_OPERATION_IN_PROGRESS");
    run(Duration.ofSeconds(60));
    assertThat(source.serverUp()).isTrue();
    assertThat(source.allEnded()).isTrue();
    assertThat(guest.state).isEqualTo(GuestState.PAUSED);
    assertThat(guest.sending).as("what a client sends is not cancelled").isTrue();
    gate(source).enter(world.vm, Operation.PAUSE).close();
  }

  private boolean mayPause() {
    try (var pausing = gate(source).enter(world.vm, Operation.PAUSE)) {
      return true;
    } catch (XenApiException e) {
      return false;
    }
  }

  private static Gate gate(SimHost host) {
    return Objects.requireNonNull(host.gate);
  }

  private void reachCancelled() {
    when(source, "SWITCHING", () -> server(source).cancel(id(source), Role.SOURCE));
    move();
    Simulation.drive(world, Duration.ofSeconds(20), () -> reached(State.OWNED));
    assertThat(state(source)).isEqualTo(State.OWNED);
  }

  private boolean reached(State state) {
    return !source.ledgerDisk.rows().isEmpty() && state(source) == state;
  }

  @Test
  void successIsToldWhenTheVmIsShownAndNothingIsLeft() {
    AtomicReference<CompletableFuture<MigrationStatus>> outcome = new AtomicReference<>();
    List<String> seen = new ArrayList<>();
    server(source)
        .start(request(List.of("sr", "sr")))
        .thenAccept(started -> {
          outcome.set(started.outcome());
          started
              .outcome()
              .thenAccept(status -> {
                seen.add(destination.shows(world.vm) ? "shown" : "hidden");
                seen.add(source.vms.isEmpty() ? "removed" : "still at the source");
              });
        });
    Simulation.drive(
        world, Duration.ofSeconds(60), () -> outcome.get() != null && outcome.get().isDone());
    assertThat(seen).containsExactly("shown", "removed");
  }

  @Test
  void aDestinationThatDiesAfterItRanDelaysTheSuccessAndNoMore() {
    AtomicReference<CompletableFuture<MigrationStatus>> outcome = new AtomicReference<>();
    when(
        source,
        "GIVEN",
        () -> {
          destination.heldDown = true;
          destination.crash("after it ran", false);
        });
    server(source)
        .start(request(List.of("sr", "sr")))
        .thenAccept(started -> outcome.set(started.outcome()));
    Simulation.drive(
        world, Duration.ofSeconds(60), () -> outcome.get() != null && outcome.get().isDone());
    assertThat(outcome.get()).isCompleted();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(state(source)).isEqualTo(State.GIVEN);
    destination.startServer();
    run(Duration.ofSeconds(30));
    assertThat(destination.shows(world.vm)).isTrue();
    assertThat(source.allEnded()).isTrue();
  }

  @ParameterizedTest
  @EnumSource(
      value = GuestState.class,
      names = {"SHUTDOWN", "GONE"})
  void aMoveWhoseGuestEndsByItselfSaysSoAndLeavesNothing(GuestState how) {
    AtomicReference<CompletableFuture<MigrationStatus>> outcome = new AtomicReference<>();
    server(source)
        .start(request(List.of("sr", "sr")))
        .thenAccept(started -> outcome.set(started.outcome()));
    reach("copying the disks");
    world.first.memoryLost = true;
    source.guestEnds(how);
    Simulation.drive(world, Duration.ofSeconds(1), () -> outcome.get().isDone());
    assertThat(failure(outcome.get()).getMessage())
        .contains("while it was being moved")
        .contains(how == GuestState.SHUTDOWN ? "shut down" : "stopped");
    run(Duration.ofSeconds(5));
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.allEnded()).isTrue();
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(source.shows(world.vm)).isTrue();
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aCancelDoesNotWaitForALookAfterTheGuest() {
    AtomicReference<CompletableFuture<MigrationStatus>> outcome = new AtomicReference<>();
    server(source)
        .start(request(List.of("sr", "sr")))
        .thenAccept(started -> outcome.set(started.outcome()));
    reach("sending the memory");
    // The memory cannot be sent, and the hypervisor does not say what the guest is doing.
    destination.guests.clear();
    source.observing = Duration.ofHours(1);
    run(Duration.ofMillis(100));
    assertThat(state(source)).isEqualTo(State.SENDING);
    source.observing = Duration.ZERO;
    server(source).cancel(id(source), Role.SOURCE);
    run(Duration.ofSeconds(5));
    assertThat(failure(outcome.get()).code()).isEqualTo("TASK_CANCELLED");
    assertThat(source.allEnded()).as("nothing waits for the answer").isTrue();
    assertThat(destination.allEnded()).isTrue();
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    run(Duration.ofHours(2));
    assertThat(state(source)).as("the late answer changes nothing").isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
  }

  private MigrationException fillsUp(BlockException.Kind told, boolean full) {
    AtomicReference<CompletableFuture<MigrationStatus>> outcome = new AtomicReference<>();
    server(source)
        .start(request(List.of("sr", "sr")))
        .thenAccept(started -> outcome.set(started.outcome()));
    reach("connecting to the destination's disks");
    destination.vdis.values().forEach(vdi -> vdi.disk.broken = told);
    destination.full = full;
    Simulation.drive(world, Duration.ofSeconds(30), () -> outcome.get().isDone());
    run(Duration.ofSeconds(10));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
    return failure(outcome.get());
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

  private void reach(String phase) {
    Simulation.drive(
        world,
        Duration.ofSeconds(30),
        () -> server(source).statuses().stream().anyMatch(status -> status.phase().equals(phase)));
    assertThat(server(source).statuses()).extracting(MigrationStatus::phase).contains(phase);
  }

  @Test
  void cancelIsQuickAndCleanBeforeTheCommitAndRefusedAfterIt() {
    AtomicReference<CompletableFuture<Void>> early = new AtomicReference<>();
    when(source, "SWITCHING", () -> early.set(server(source).cancel(id(source), Role.SOURCE)));
    move();
    Simulation.drive(world, Duration.ofSeconds(30), () -> early.get() != null);
    long asked = world.scheduler.nanoTime();
    Simulation.drive(
        world, Duration.ofSeconds(30), () -> source.allEnded() && destination.allEnded());
    assertThat(Duration.ofNanos(world.scheduler.nanoTime() - asked))
        .isLessThan(Duration.ofSeconds(2));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();

    AtomicReference<CompletableFuture<Void>> late = new AtomicReference<>();
    when(
        source,
        "COMMITTING",
        () ->
            late.set(
                server(source)
                    .cancel(source.ledgerDisk.rows().getLast().migration(), Role.SOURCE)));
    move();
    run(Duration.ofSeconds(20));
    assertThat(late.get()).isCompletedExceptionally();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void inDoubtTheGateSaysWhatIsAskedAndForceTakesTheVmBack() {
    when(
        destination,
        "COMMITTED",
        () -> {
          destination.heldDown = true;
          destination.crash("for good", true);
        });
    move();
    run(Duration.ofSeconds(20));
    assertThat(state(source)).isEqualTo(State.COMMITTING);
    assertThat(guest(source)).isEqualTo(GuestState.SENT);
    assertThat(refusal(source))
        .contains("COMMITTING")
        .contains("commit: run the VM")
        .contains("last tried")
        .contains("force-resume");

    world.first.memoryLost = false;
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(5));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(Objects.requireNonNull(source.ledger).audits().getFirst().action())
        .isEqualTo("force-resume");

    destination.startServer();
    run(Duration.ofMinutes(1));
    assertThat(state(destination)).isIn(State.RETURNED, State.ABORTED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isNotEqualTo(GuestState.RUNNING);
    assertThat(source.vdis).as("nothing is deleted at the source").hasSize(2);
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
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aDestinationThatComesBackReadyAsksTheSourceBeforeItObeysALateCommit() {
    when(
        source,
        "COMMITTING",
        () -> {
          destination.heldDown = true;
          destination.crash("its server only", false);
        });
    move();
    run(Duration.ofSeconds(20));
    assertThat(state(destination)).isEqualTo(State.READY);
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(5));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);

    destination.startServer();
    Simulation.drive(
        world,
        Duration.ofSeconds(30),
        () ->
            destination.serverUp()
                && !server(destination).statuses().getFirst().phase().equals("not taken up"));
    LedgerRow sender = source.ledgerDisk.rows().getFirst();
    CompletableFuture<PeerAnswer> answer =
        new PeerClient((to, late, deadline) -> server(destination).endpoint().handle(late))
            .send(
                new PeerAddress(sender.peerUrl(), sender.peerFingerprint()),
                sender.migration(),
                sender.token(),
                sender.key(),
                new PeerMessage.Commit(sender.peerIncarnation()),
                Duration.ofSeconds(10));
    run(Duration.ofMinutes(1));
    assertThat(answer.join().refused()).isFalse();
    assertThat(state(destination)).isEqualTo(State.RETURNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isNotEqualTo(GuestState.RUNNING);
  }

  @Test
  void aDestinationInDoubtAsksTheSourceAfterARestartAndYieldsToForce() {
    when(
        destination,
        "COMMITTED",
        () -> {
          destination.heldDown = true;
          destination.crash("its server only", false);
        });
    move();
    run(Duration.ofSeconds(20));
    assertThat(guest(destination)).isEqualTo(GuestState.RECEIVED);
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(5));
    destination.startServer();
    run(Duration.ofMinutes(1));
    assertThat(state(destination)).isEqualTo(State.RETURNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(destination.vdis).as("nothing is deleted after force").hasSize(2);
    server(source).release(id(source), Role.SOURCE, "root");
    server(destination).release(id(destination), Role.DESTINATION, "root");
    run(Duration.ofSeconds(1));
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.allEnded()).isTrue();
    assertThat(server(source).status(id(source), Role.SOURCE).orElseThrow().phase())
        .isEqualTo("ended");
  }

  @Test
  void forceCommitRunsAReadyGuestWhenTheSourceIsOff() {
    when(
        destination,
        "READY",
        () -> {
          source.heldDown = true;
          source.crash("for good", true);
        });
    move();
    run(Duration.ofSeconds(30));
    assertThat(state(destination)).isEqualTo(State.READY);
    assertThat(refusal(destination)).contains("READY");
    server(destination).forceCommit(id(destination), "root");
    run(Duration.ofSeconds(5));
    assertThat(state(destination)).isEqualTo(State.RUNNING);
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);

    source.startServer();
    run(Duration.ofMinutes(2));
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(refusal(source)).as("the source may not start it").contains("OWNED");
    assertThat(source.vdis).as("nothing is deleted after force").hasSize(2);
  }

  /**
   * The destination's ledger as it was when a record became durable, put back and accepted later.
   */
  private void putBack(MemoryLedger.Disk copy, boolean power) {
    destination.heldDown = true;
    destination.crash("and its ledger is put back", power);
    destination.ledgerDisk = copy;
    destination.heldDown = false;
    destination.startServer();
    run(Duration.ofSeconds(5));
    assertThat(refusal(destination)).as("nothing starts before it is accepted").isNotEmpty();
    server(destination).acceptRestoredLedger("root");
  }

  private AtomicReference<MemoryLedger.Disk> copyAt(String record) {
    AtomicReference<MemoryLedger.Disk> copy = new AtomicReference<>();
    when(
        destination,
        record,
        () -> copy.set(destination.ledgerDisk.copy(Optional.of(world.uuid()))));
    return copy;
  }

  @ParameterizedTest
  @ValueSource(strings = {"intend", "READY", "COMMITTED", "STARTING"})
  void aVmThatHasArrivedIsNotUndoneByAnOlderLedger(String record) {
    AtomicReference<MemoryLedger.Disk> copy = copyAt(record);
    move();
    run(Duration.ofSeconds(20));
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.allEnded()).isTrue();

    putBack(copy.get(), false);
    run(Duration.ofMinutes(2));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(destination.shows(world.vm)).isTrue();
    assertThat(state(destination)).isEqualTo(State.RUNNING);
    assertThat(destination.allEnded()).as("the source has ended it long ago").isTrue();
    assertThat(destination.leftovers()).isEmpty();
    // It is as free as before: it moves back.
    new Clients(world, 1).move(destination);
    run(Duration.ofSeconds(30));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aVmThatRanAndIsNotShownYetIsNotUndoneByAnOlderLedger(boolean power) {
    AtomicReference<MemoryLedger.Disk> copy = copyAt("READY");
    AtomicReference<MemoryLedger.Disk> put = new AtomicReference<>();
    move();
    Simulation.drive(world, Duration.ofSeconds(30), () -> copy.get() != null);
    when(
        source,
        "GIVEN",
        () -> {
          put.set(copy.get());
          destination.heldDown = true;
          destination.crash("before the VM is shown", power);
        });
    Simulation.drive(world, Duration.ofSeconds(30), () -> put.get() != null);
    assertThat(destination.shows(world.vm)).isFalse();
    run(Duration.ofSeconds(10));
    assertThat(source.vdis).as("the source has given it").isEmpty();

    destination.ledgerDisk = put.get();
    destination.heldDown = false;
    destination.startServer();
    run(Duration.ofSeconds(5));
    server(destination).acceptRestoredLedger("root");
    run(Duration.ofMinutes(1));
    assertThat(destination.shows(world.vm)).isTrue();
    assertThat(destination.vdis).hasSize(Scale.SMALL.disks());
    assertThat(guest(destination)).isEqualTo(power ? GuestState.GONE : GuestState.RUNNING);
    assertThat(refusal(destination)).as("the source has answered").isEmpty();
  }

  @Test
  void aMoveThatTheSourceTookBackIsUndoneFromAnOlderLedger() {
    AtomicReference<MemoryLedger.Disk> copy = copyAt("intend");
    move();
    Simulation.drive(world, Duration.ofSeconds(30), () -> copy.get() != null);
    run(Duration.ofMillis(100));
    destination.heldDown = true;
    destination.crash("for longer than the source waits", false);
    run(Duration.ofMinutes(2));
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(destination.vdis).isNotEmpty();

    destination.ledgerDisk = copy.get();
    destination.heldDown = false;
    destination.startServer();
    run(Duration.ofSeconds(5));
    server(destination).acceptRestoredLedger("root");
    run(Duration.ofMinutes(1));
    assertThat(state(destination)).isEqualTo(State.ABORTED);
    assertThat(destination.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void aSourceWhoseLedgerWasPutBackResumesNothingBeforeTheDestinationHasAnswered() {
    AtomicReference<MemoryLedger.Disk> copy = new AtomicReference<>();
    when(source, "SWITCHING", () -> copy.set(source.ledgerDisk.copy(Optional.of(world.uuid()))));
    move();
    Simulation.drive(world, Duration.ofSeconds(30), () -> copy.get() != null);
    when(
        source,
        "COMMITTING",
        () -> {
          source.heldDown = true;
          source.crash("and its ledger is put back", false);
        });
    Simulation.drive(world, Duration.ofSeconds(30), () -> source.heldDown);
    source.ledgerDisk = copy.get();
    destination.heldDown = true;
    destination.crash("meanwhile", false);
    source.heldDown = false;
    source.startServer();
    run(Duration.ofSeconds(5));
    server(source).acceptRestoredLedger("root");
    run(Duration.ofSeconds(30));
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(guest(source)).as("it stands still").isEqualTo(GuestState.PAUSED);
    destination.startServer();
    run(Duration.ofMinutes(1));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isNotEqualTo(GuestState.RUNNING);
  }

  private void off(SimHost host) {
    host.heldDown = true;
    host.crash("switched off", true);
    run(Duration.ofSeconds(2));
  }

  private void on(SimHost host) {
    host.startServer();
    run(Duration.ofMinutes(1));
  }

  @Test
  void aWordForTheDestinationIsNotBelievedAfterOneForTheSource() {
    when(
        destination,
        "READY",
        () -> {
          source.heldDown = true;
          source.crash("switched off", true);
        });
    move();
    run(Duration.ofSeconds(30));
    server(destination).forceCommit(id(destination), "root");
    run(Duration.ofSeconds(10));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(destination.shows(world.vm)).isTrue();

    off(destination);
    on(source);
    assertThat(refusal(source)).contains("force-resume");
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(1));
    assertThat(refusal(source)).as("it may be started there").isEmpty();

    on(destination);
    assertThat(refusal(destination)).contains("RUNNING (forced)").contains("force-commit");
    // Nor is the source believed when it comes back, while the destination says otherwise.
    off(source);
    on(source);
    assertThat(refusal(source)).contains("OWNED (forced)");
    assertThat(refusal(destination)).isNotEmpty();
    // Given anew, it counts; also at a destination that runs already.
    off(source);
    server(destination).forceCommit(id(destination), "root");
    run(Duration.ofSeconds(1));
    assertThat(refusal(destination)).isEmpty();
    on(source);
    assertThat(refusal(source)).isNotEmpty();
  }

  @Test
  void aWordForTheSourceCountsUntilItIsRebooted() {
    when(
        destination,
        "COMMITTED",
        () -> {
          destination.heldDown = true;
          destination.crash("switched off", true);
        });
    move();
    run(Duration.ofSeconds(10));
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(5));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(refusal(source)).isEmpty();
    off(source);
    on(source);
    assertThat(refusal(source)).contains("OWNED (forced)").contains("force-resume");
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(1));
    assertThat(refusal(source)).isEmpty();
    off(source);
    on(source);
    on(destination);
    assertThat(refusal(source)).as("the destination has answered").isEmpty();
  }

  @Test
  void aDestinationThatStaysAwayLetsTheSourceGoOnAndIsCleanedLater() {
    when(
        source,
        "SWITCHING",
        () -> {
          destination.heldDown = true;
          destination.crash("for a long time", false);
        });
    move();
    run(Duration.ofSeconds(30));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(state(source)).isEqualTo(State.OWNED);
    destination.startServer();
    run(Duration.ofMinutes(1));
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
  }

  private MoveRequest request(List<String> disks) {
    List<Plan.Disk> planned = new ArrayList<>();
    source
        .vms
        .get(world.vm)
        .vdis
        .forEach(vdi ->
            planned.add(
                new Plan.Disk(
                    vdi,
                    "xvd" + (char) ('a' + planned.size()),
                    source.vdis.get(vdi).disk.size(),
                    disks.get(planned.size()),
                    "log-dirty",
                    false)));
    Plan plan =
        new Plan(
            world.vm, world.vm, "vm", Plan.Power.RUNNING, 4096, planned, false, false, Map.of());
    return new MoveRequest(
        plan, "{}", server(destination).issueToken(List.of("sr"), destination.url()));
  }

  private CompletableFuture<Void> checked(MoveRequest request) {
    CompletableFuture<Void> asked = server(source).check(request);
    Simulation.drive(world, Duration.ofSeconds(30), asked::isDone);
    assertThat(asked).isDone();
    return asked;
  }

  @Test
  void askingBeforehandChangesNothingAndUsesNothingUp() {
    MoveRequest request = request(List.of("sr", "sr"));
    for (int i = 0; i < 3; i++) {
      assertThat(checked(request)).isCompletedWithValue(null);
    }
    assertThat(source.ledgerDisk.rows()).isEmpty();
    assertThat(destination.ledgerDisk.rows()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
    assertThat(Objects.requireNonNull(destination.ledger).journal()).isEmpty();
    server(source).start(request);
    run(Duration.ofSeconds(20));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void whatTheDestinationHasAgainstItIsNamedWithItsOwnCode() {
    destination.full = true;
    assertThat(failure(checked(request(List.of("sr", "sr")))).code()).isEqualTo("SR_FULL");
    assertThat(destination.ledgerDisk.rows()).isEmpty();
    destination.full = false;
    destination.heldDown = true;
    destination.crash("before it is asked", false);
    MoveRequest request =
        new MoveRequest(
            request(List.of("sr", "sr")).plan(),
            "{}",
            server(destination).issueToken(List.of("sr"), destination.url()));
    assertThat(failure(checked(request)).code()).isEqualTo("CANNOT_CONTACT_HOST");
  }

  @Test
  void aMoveUnderWayIsInTheWayOfAnother() {
    MoveRequest first = request(List.of("sr", "sr"));
    MoveRequest second = request(List.of("sr", "sr"));
    server(source).start(first);
    run(Duration.ofMillis(50));
    assertThat(state(source)).isEqualTo(State.SENDING);
    assertThat(failure(checked(second)).code()).isEqualTo("OTHER_OPERATION_IN_PROGRESS");
    run(Duration.ofSeconds(20));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    // Its id is a tombstone now, and the token used up.
    MoveRequest again = new MoveRequest(first.plan(), "{}", first.token());
    assertThat(failure(checked(again)).code()).isEqualTo("VM_MIGRATE_FAILED");
  }

  private static MigrationException failure(CompletableFuture<?> future) {
    Throwable cause = future.exceptionNow();
    while (cause instanceof CompletionException && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return (MigrationException) cause;
  }

  @Test
  void aTokenIsGoodForOneMigrationOnly() {
    move();
    run(Duration.ofSeconds(20));
    LedgerRow row = source.ledgerDisk.rows().getFirst();
    assertThat(row.ended()).isTrue();
    assertThat(destination.ledgerDisk.rows()).hasSize(1);
    assertThat(destination.ledgerDisk.rows().getFirst().ended()).isTrue();
  }

  private String refusal(SimHost host) {
    try {
      Objects.requireNonNull(host.gate).enter(world.vm, Operation.UNPAUSE).close();
      return "";
    } catch (XenApiException e) {
      return e.getMessage();
    }
  }
}
