package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A move goes on with the server that comes after one that was killed. */
class GoingOnTest {
  private final List<String> trace = new ArrayList<>();
  private final World world = new World(12, Faults.NONE, Variant.SOUND, trace);
  private final SimHost source = world.hosts.get(0);
  private final SimHost destination = world.hosts.get(1);

  private void begin(boolean running) {
    Simulation.populate(world, running);
    world.hosts.forEach(SimHost::startServer);
    world.tick();
    run(Duration.ofMillis(200));
  }

  private void run(Duration duration) {
    Simulation.drive(world, duration, () -> false);
  }

  /** Kills a host's server, or takes its power, once the source shows a phase. */
  private void kill(SimHost host, String phase, boolean power, Duration away) {
    boolean[] done = {false};
    Objects.requireNonNull(source.coordinator)
        .listen(status -> {
          if (status.phase().equals(phase) && !done[0]) {
            done[0] = true;
            host.heldDown = true;
            host.crash("in the middle", power);
            world.scheduler.schedule(
                away,
                () -> {
                  host.heldDown = false;
                  host.startServer();
                });
          }
        });
  }

  private int goneOn(Role role) {
    return world.counts.getOrDefault(SimHost.GONE_ON + role, 0);
  }

  private static State state(SimHost host) {
    return host.ledgerDisk.rows().getFirst().state();
  }

  private void assertMoved(boolean running) {
    String told = String.join("\n", trace);
    assertThat(source.ledgerDisk.rows()).as(told).hasSize(1);
    assertThat(state(source)).as(told).isEqualTo(State.GIVEN);
    assertThat(source.allEnded()).as(told).isTrue();
    assertThat(destination.shows(world.vm)).as(told).isTrue();
    SimGuest guest = destination.guests.get(world.vm);
    assertThat(running).isEqualTo(guest != null && guest.state == GuestState.RUNNING);
    assertThat(source.vms).isEmpty();
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "copying the disks, false",
    "copying the disks, true",
    "sending the memory, false",
    "sending the memory, true",
    "preparing the disks for the switch, false",
    "waiting for the hypervisor to pause the guest, false"
  })
  void aDestinationGoesOn(String phase, boolean power) {
    begin(true);
    kill(destination, phase, power, Duration.ofSeconds(3));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertMoved(true);
    assertThat(goneOn(Role.DESTINATION)).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aDestinationGoesOnWithAHaltedVm(boolean power) {
    begin(false);
    kill(destination, "copying the disks", power, Duration.ofSeconds(3));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertMoved(false);
    assertThat(goneOn(Role.DESTINATION)).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "opening at the destination",
        "connecting to the destination's disks",
        "copying the disks",
        "sending the memory",
        "preparing the disks for the switch"
      })
  void aSourceGoesOn(String phase) {
    begin(true);
    kill(source, phase, false, Duration.ofSeconds(3));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertMoved(true);
    assertThat(goneOn(Role.SOURCE)).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aSourceGoesOnWithAHaltedVm(boolean power) {
    begin(false);
    kill(source, "copying the disks", power, Duration.ofSeconds(3));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertMoved(false);
    assertThat(goneOn(Role.SOURCE)).isEqualTo(1);
  }

  @Test
  void bothGoOn() {
    begin(true);
    kill(source, "copying the disks", false, Duration.ofSeconds(4));
    kill(destination, "copying the disks", true, Duration.ofSeconds(2));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertMoved(true);
    assertThat(goneOn(Role.SOURCE)).isEqualTo(1);
    assertThat(goneOn(Role.DESTINATION)).isEqualTo(1);
  }

  @Test
  void aSourceWhoseGuestIsGoneWithThePowerHasNothingToGoOnWith() {
    begin(true);
    kill(source, "copying the disks", true, Duration.ofSeconds(3));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void aMoveThatGoesOnMayBeCancelled() {
    begin(true);
    kill(source, "copying the disks", false, Duration.ofSeconds(3));
    new Clients(world, 1).move(source);
    Simulation.drive(world, Duration.ofMinutes(1), () -> goneOn(Role.SOURCE) == 1);
    Objects.requireNonNull(source.coordinator)
        .cancel(source.ledgerDisk.rows().getFirst().migration(), Role.SOURCE);
    run(Duration.ofMinutes(1));
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
  }

  /** Its task is taken up by the server that comes after, and would wait for ever. */
  @Test
  void aCancelledMoveThatIsCleanedUpTellsSoAfterARestart() {
    begin(true);
    new Clients(world, 1).move(source);
    Coordinator before = Objects.requireNonNull(source.coordinator);
    Simulation.drive(
        world,
        Duration.ofMinutes(1),
        () ->
            before.statuses().stream()
                .anyMatch(status -> status.phase().equals("copying the disks")));
    destination.heldDown = true;
    destination.crash("away", false);
    MigrationId move = source.ledgerDisk.rows().getFirst().migration();
    before.cancel(move, Role.SOURCE);
    run(Duration.ofSeconds(20));
    assertThat(source.ledgerDisk.rows().getFirst().cleaned()).isTrue();
    assertThat(source.allEnded()).isFalse();
    source.crash("after it was cleaned up", false);
    run(Duration.ofSeconds(20));
    assertThat(Objects.requireNonNull(source.coordinator)).isNotSameAs(before);
    assertThat(source.coordinator.outcome(move)).isCompletedExceptionally();
  }

  @Test
  void whatAnOperatorHasChangedHoldsForTheNextServer() {
    begin(true);
    new Clients(world, 1).move(source);
    run(Duration.ofMillis(50));
    Objects.requireNonNull(source.coordinator)
        .steer(
            source.ledgerDisk.rows().getFirst().migration(),
            Role.SOURCE,
            Steering.Change.of(CutOver.HOLD));
    run(Duration.ofMillis(50));
    source.heldDown = true;
    source.crash("with the switch held", false);
    source.heldDown = false;
    source.startServer();
    run(Duration.ofMinutes(1));
    assertThat(state(source)).as("it is still held").isEqualTo(State.SENDING);
    assertThat(goneOn(Role.SOURCE)).isEqualTo(1);
    Objects.requireNonNull(source.coordinator)
        .steer(
            source.ledgerDisk.rows().getFirst().migration(),
            Role.SOURCE,
            Steering.Change.of(CutOver.AUTO));
    run(Duration.ofMinutes(1));
    assertMoved(true);
  }

  @Test
  void aDestinationThatComesBackAfterTheResumeWindowFindsTheMoveOver() {
    begin(true);
    kill(
        destination,
        "copying the disks",
        false,
        SimHost.DEADLINES.resumeWindow().plus(SimHost.DEADLINES.lost()));
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(state(destination)).isEqualTo(State.ABORTED);
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void exportsThatWereClosedAreNotOpenedAgain() {
    begin(true);
    boolean[] done = {false};
    world.onDurable =
        (host, what) -> {
          if (host == destination && what.equals("close exports") && !done[0]) {
            done[0] = true;
            destination.crash("with its exports CLOSED", false);
          }
        };
    new Clients(world, 1).move(source);
    run(Duration.ofMinutes(1));
    assertThat(done[0]).isTrue();
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(state(destination)).isEqualTo(State.ABORTED);
    assertThat(destination.leftovers()).isEmpty();
    assertThat(goneOn(Role.DESTINATION)).isZero();
  }
}
