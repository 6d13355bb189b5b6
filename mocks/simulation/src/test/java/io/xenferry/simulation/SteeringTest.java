package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Moves that an operator carries on otherwise while they run, in the simulated world. */
class SteeringTest {
  /** Longer than any silence that is borne, and any step but the memory's. */
  private static final Duration LONG = Duration.ofMinutes(12);

  private static final Steering.Change HOLD = Steering.Change.of(CutOver.HOLD);
  private static final Steering.Change NOW = Steering.Change.of(CutOver.NOW);

  private final World world = new World(23, Faults.NONE, Variant.SOUND, new ArrayList<>());
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

  private Coordinator server() {
    return Objects.requireNonNull(source.coordinator);
  }

  private MigrationStatus status() {
    return server().statuses().getFirst();
  }

  private GuestState guest(SimHost host) {
    SimGuest guest = host.guests.get(world.vm);
    return guest == null ? GuestState.GONE : guest.state;
  }

  private void move(Map<String, String> options) {
    List<Plan.Disk> disks = new ArrayList<>();
    source
        .vms
        .get(world.vm)
        .vdis
        .forEach(vdi ->
            disks.add(
                new Plan.Disk(
                    vdi,
                    "xvd" + (char) ('a' + disks.size()),
                    source.vdis.get(vdi).disk.size(),
                    "sr",
                    "auto",
                    false)));
    Plan plan =
        new Plan(world.vm, world.vm, "vm", Plan.Power.RUNNING, 4096, disks, false, false, options);
    Coordinator there = Objects.requireNonNull(destination.coordinator);
    server().start(new MoveRequest(plan, "{}", there.issueToken(List.of("sr"), destination.url())));
  }

  /** Does something once, when the move has come to a phase. */
  private void when(String phase, Runnable action) {
    boolean[] done = {false};
    server()
        .listen(status -> {
          if (status.phase().equals(phase) && !done[0]) {
            done[0] = true;
            action.run();
          }
        });
  }

  private CompletableFuture<Void> steer(Steering.Change change) {
    return server().steer(status().migration(), Role.SOURCE, change);
  }

  private void assertMoved() {
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
    assertThat(status().ended()).isTrue();
    assertThat(status().steering()).as("of what is past").isEmpty();
  }

  private void assertFollows(String phase) {
    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(status().phase()).isEqualTo(phase);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(Objects.requireNonNull(source.guests.get(world.vm)).sending)
        .as("the memory is being sent")
        .isFalse();
  }

  private static void assertTooLate(CompletableFuture<Void> asked) {
    assertThat(asked).isCompletedExceptionally();
    assertThat(((MigrationException) asked.exceptionNow()).code())
        .isEqualTo("OPERATION_NOT_ALLOWED");
  }

  @Test
  void aPausedMoveStandsStillForAsLongAsItIsWantedAndThenGoesOn() {
    when("copying the disks", () -> steer(Steering.Change.PAUSE));
    move(Map.of());
    run(Duration.ofSeconds(5));
    assertFollows("paused by an operator");
    long sent = status().disks().getFirst().sent();

    run(LONG);

    assertFollows("paused by an operator");
    assertThat(status().disks().getFirst().sent()).isEqualTo(sent);
    assertThat(steer(Steering.Change.RESUME)).isNotNull();
    run(Duration.ofSeconds(20));
    assertMoved();
  }

  @Test
  void aPausedMoveIsCancelledAtOnce() {
    when("copying the disks", () -> steer(Steering.Change.PAUSE));
    move(Map.of());
    run(Duration.ofSeconds(5));
    server().cancel(status().migration(), Role.SOURCE);
    run(Duration.ofSeconds(2));
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    run(Duration.ofSeconds(20));
    assertThat(status().ended()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aHeldMoveFollowsTheGuestUntilItIsToldToCutOver() {
    move(Map.of(CutOver.OPTION, "hold"));
    run(LONG);
    assertFollows("following the guest's writes until an operator lets it cut over");
    steer(NOW);
    run(Duration.ofSeconds(20));
    assertMoved();
  }

  @Test
  void aMoveWaitsForItsTime() {
    String at = world.scheduler.now().plus(LONG).toString();
    move(Map.of(CutOver.OPTION, at));
    run(LONG.minusSeconds(1));
    assertFollows("following the guest's writes until " + at);
    run(Duration.ofSeconds(20));
    assertMoved();
  }

  @Test
  void anotherTimeCountsFromThenOn() {
    move(Map.of(CutOver.OPTION, "hold"));
    run(Duration.ofSeconds(30));
    steer(Steering.Change.of(new CutOver(world.scheduler.now().plusSeconds(600), false)));
    run(Duration.ofSeconds(30));
    steer(Steering.Change.of(new CutOver(world.scheduler.now().plusSeconds(60), false)));
    run(Duration.ofSeconds(58));
    assertThat(status().state()).isEqualTo(State.SENDING);
    run(Duration.ofSeconds(20));
    assertMoved();
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
      when(phase, () -> steer(phase.startsWith("sending") ? Steering.Change.PAUSE : HOLD));
    }
    move(Map.of());
    for (int i = 0; i < phases.size(); i++) {
      run(Duration.ofMinutes(1));
      assertThat(status().phase()).as(phases.get(i)).containsAnyOf("following", "paused");
      assertThat(status().state()).isEqualTo(State.SENDING);
      assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
      steer(Steering.Change.of(CutOver.AUTO));
      steer(Steering.Change.RESUME);
    }
    run(Duration.ofSeconds(30));
    assertMoved();
  }

  @Test
  void onceTheGuestIsBeingStoppedItIsTooLate() {
    List<CompletableFuture<Void>> asked = new ArrayList<>();
    when("waiting for the hypervisor to pause the guest", () -> asked.add(steer(HOLD)));
    for (State state : List.of(State.SWITCHING, State.COMMITTING, State.GIVEN)) {
      when(
          state.phase(),
          () -> {
            asked.add(steer(Steering.Change.PAUSE));
            asked.add(steer(Steering.Change.of(CutOver.AUTO)));
          });
    }
    move(Map.of());
    run(Duration.ofSeconds(20));
    assertMoved();
    asked.add(steer(NOW));
    run(Duration.ofSeconds(1));
    assertThat(asked).hasSize(8).allSatisfy(SteeringTest::assertTooLate);
  }

  @Test
  void theStrategyIsChangedWhileItFollows() {
    move(Map.of(CutOver.OPTION, "hold"));
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
    assertMoved();
  }

  @Test
  void theDestinationLeavesItToTheSource() {
    move(Map.of(CutOver.OPTION, "hold"));
    run(Duration.ofSeconds(20));
    Coordinator there = Objects.requireNonNull(destination.coordinator);
    CompletableFuture<Void> asked =
        there.steer(status().migration(), Role.DESTINATION, Steering.Change.PAUSE);
    run(Duration.ofSeconds(1));
    assertTooLate(asked);
    assertThat(((MigrationException) asked.exceptionNow()).params().getFirst())
        .contains("only at its source");
  }

  @Test
  void aMoveStaysHeldWhenTheSourceIsRestarted() {
    move(Map.of(CutOver.OPTION, "hold"));
    run(Duration.ofSeconds(30));
    source.crash("while a move is held", false);
    run(Duration.ofMinutes(2));
    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    var unused = steer(Steering.Change.of(CutOver.AUTO));
    run(Duration.ofMinutes(1));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(source.leftovers()).isEmpty();
  }
}
