package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A move goes on with the server that comes after one that was killed. */
class GoingOnTest extends Story {
  private static final Duration MINUTE = Duration.ofMinutes(1);

  GoingOnTest() {
    super(12);
  }

  /** A client has shut the VM down. */
  private void halt() {
    source.guests.clear();
    world.first.memoryLost = true;
  }

  /** A host's server is killed, or its power lost, once the source shows a phase. */
  private void dies(SimHost host, String phase, boolean power, Duration away) {
    whenIn(
        source,
        phase,
        () -> {
          crash(host, power);
          world.scheduler.schedule(away, () -> comeBack(host));
        });
  }

  /** The same move went on with the next server of each of these roles. */
  private void assertWentOn(Role... roles) {
    assertThat(source.ledgerDisk.rows()).hasSize(1);
    for (Role role : Role.values()) {
      assertThat(goneOn(role)).as(role.name()).isEqualTo(List.of(roles).contains(role) ? 1 : 0);
    }
  }

  private int goneOn(Role role) {
    return world.counts.getOrDefault(SimServer.GONE_ON + role, 0);
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
    dies(destination, phase, power, Duration.ofSeconds(3));
    move();
    run(MINUTE);
    assertMoved();
    assertWentOn(Role.DESTINATION);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aDestinationGoesOnWithAHaltedVm(boolean power) {
    halt();
    dies(destination, "copying the disks", power, Duration.ofSeconds(3));
    move();
    run(MINUTE);
    assertArrived();
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    assertWentOn(Role.DESTINATION);
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
    dies(source, phase, false, Duration.ofSeconds(3));
    move();
    run(MINUTE);
    assertMoved();
    assertWentOn(Role.SOURCE);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aSourceGoesOnWithAHaltedVm(boolean power) {
    halt();
    dies(source, "copying the disks", power, Duration.ofSeconds(3));
    move();
    run(MINUTE);
    assertArrived();
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    assertWentOn(Role.SOURCE);
  }

  @Test
  void bothGoOn() {
    dies(source, "copying the disks", false, Duration.ofSeconds(4));
    dies(destination, "copying the disks", true, Duration.ofSeconds(2));
    move();
    run(MINUTE);
    assertMoved();
    assertWentOn(Role.SOURCE, Role.DESTINATION);
  }

  /** At most one command to the target outlives its server, and the others find no target. */
  @Test
  void anExportOfAKilledServerThatComesAfterTheCloseIsAnEmptyTarget() {
    destination.targetStays = true;
    destination.heldDown = true;
    destination.lateness = Optional.of(Duration.ofSeconds(10));
    destination.fates =
        words -> {
          destination.fates = others -> SimExports.Fate.GOES_ON;
          return SimExports.Fate.KILLED_MEANWHILE;
        };
    move();
    runUntil(() -> !destination.serverUp());
    comeBack(destination);
    runUntil(() -> guest(destination) == GuestState.RUNNING);
    assertThat(destination.exportJournal).isEmpty();
    runUntil(() -> !destination.tgtd.half().isEmpty());
    assertThat(destination.tgtd.whole()).isEmpty();
    assertThat(destination.leftovers()).anyMatch(left -> left.startsWith("half-made target "));
    run(MINUTE);
    assertMoved();
    assertWentOn(Role.DESTINATION);
  }

  @Test
  void aSourceWhoseGuestIsGoneWithThePowerHasNothingToGoOnWith() {
    dies(source, "copying the disks", true, Duration.ofSeconds(3));
    move();
    run(MINUTE);
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(source.ledgerDisk.rows().getFirst().outcome().orElseThrow())
        .contains("this host was restarted");
    assertOver();
  }

  @Test
  void aMoveThatGoesOnMayBeCancelled() {
    dies(source, "copying the disks", false, Duration.ofSeconds(3));
    move();
    runUntil(() -> goneOn(Role.SOURCE) == 1);
    cancel();
    run(MINUTE);
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertStayed();
  }

  /** Its task is taken up by the server that comes after, and would wait for ever. */
  @Test
  void aCancelledMoveThatIsCleanedUpTellsSoAfterARestart() {
    move();
    reach("copying the disks");
    kill(destination);
    cancel();
    run(Duration.ofSeconds(20));
    assertThat(source.ledgerDisk.rows().getFirst().cleaned()).isTrue();
    assertThat(source.allEnded()).isFalse();
    kill(source);
    comeBack(source);
    run(Duration.ofSeconds(20));
    assertThat(server(source).outcome(id(source))).isCompletedExceptionally();
  }

  @Test
  void whatAnOperatorHasChangedHoldsForTheNextServer() {
    move();
    run(Duration.ofMillis(50));
    steer(CutOver.HOLD);
    run(Duration.ofMillis(50));
    kill(source);
    comeBack(source);
    run(MINUTE);
    assertThat(state(source)).as("it is still held").isEqualTo(State.SENDING);
    assertWentOn(Role.SOURCE);
    steer(CutOver.AUTO);
    run(MINUTE);
    assertMoved();
  }

  @Test
  void aDestinationThatComesBackAfterTheResumeWindowFindsTheMoveOver() {
    dies(
        destination,
        "copying the disks",
        false,
        SimServer.DEADLINES.resumeWindow().plus(SimServer.DEADLINES.lost()));
    move();
    run(MINUTE);
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(state(destination)).isEqualTo(State.ABORTED);
    assertStayed();
  }

  @Test
  void exportsThatWereClosedAreNotOpenedAgain() {
    when(destination, "close exports", () -> destination.crash("with them CLOSED", false));
    move();
    run(MINUTE);
    assertThat(world.counts).containsEntry("servers killed", 1);
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(state(destination)).isEqualTo(State.ABORTED);
    assertStayed();
    assertWentOn();
  }
}
