package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.migration.state.WarmMove;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Moves with a reboot, in the simulated world, which looks at its invariants all the time. */
class WarmMoveTest {
  private static final Duration SOON = Duration.ofMillis(300);
  private static final Duration LONG = Duration.ofMinutes(7);

  private final World world = new World(31, Faults.NONE, Variant.SOUND, new ArrayList<>());
  private final SimHost source = world.hosts.get(0);
  private final SimHost destination = world.hosts.get(1);
  private final List<String> records = new ArrayList<>();
  private final List<String> phases = new ArrayList<>();

  @BeforeEach
  void begin() {
    Simulation.populate(world, true);
    source.shutsDownIn = Optional.of(SOON);
    world.onDurable = (host, what) -> records.add(host.name + " " + what);
    world.hosts.forEach(SimHost::startServer);
    world.tick();
    run(Duration.ofMillis(200));
    server().listen(status -> phases.add(status.phase()));
  }

  private void run(Duration duration) {
    Simulation.drive(world, duration, () -> false);
  }

  private void runUntil(GuestState state) {
    Simulation.drive(world, LONG, () -> guest(source) == state);
    assertThat(guest(source)).isEqualTo(state);
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

  private void move(String... options) {
    Map<String, String> all = new LinkedHashMap<>(Map.of(WarmMove.MODE, WarmMove.WARM));
    for (int i = 0; i < options.length; i += 2) {
      all.put(options[i], options[i + 1]);
    }
    Clients clients = new Clients(world, 1);
    clients.with(all);
    clients.move(source);
    run(Duration.ofMillis(50));
  }

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

  private void assertMoved() {
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertNothingLeft();
  }

  /** The guest has booted again at the source, or has run there all the time. */
  private void assertStayed(String why) {
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    assertThat(status().outcome().orElseThrow()).contains(why);
    assertNothingLeft();
  }

  private void assertNothingLeft() {
    assertThat(status().ended()).isTrue();
    assertThat(source.leftovers()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
  }

  @Test
  void theGuestShutsDownAndBootsAtTheDestination() {
    move();
    run(LONG);

    assertMoved();
    assertThat(records.stream().map(record -> record.substring(2)))
        .containsSubsequence(
            "SWITCHING", "READY", "COMMITTING", "COMMITTED", "STARTING", "RUNNING", "GIVEN");
    assertThat(phases)
        .containsSubsequence(
            "copying the disks",
            "asking the guest to shut down",
            "waiting for the guest to shut down",
            "sending what the guest wrote last")
        .noneMatch(phase -> phase.contains("memory"));
    assertThat(status().downtime().orElseThrow()).isPositive();
  }

  @Test
  void oneThatDoesNotShutDownGoesOnWhereItIs() {
    source.shutsDownIn = Optional.empty();
    move(WarmMove.TIMEOUT, "30");
    run(LONG);

    assertStayed("did not shut down within 30 s");
    assertThat(world.counts).doesNotContainKey("guests booted again");
  }

  @Test
  void oneThatDoesNotShutDownIsStoppedWhereThatIsWanted() {
    source.shutsDownIn = Optional.empty();
    move(WarmMove.TIMEOUT, "30", WarmMove.HARD, "true");
    run(LONG);

    assertMoved();
  }

  @Test
  void oneThatRebootsInsteadIsAskedOnceMore() {
    source.asksUnheeded = 1;
    move(WarmMove.TIMEOUT, "30");
    run(LONG);

    assertMoved();
    assertThat(phases).contains("asking the guest's agent to shut it down");
  }

  @Test
  void aStopThatComesAboutAfterTheCancelIsTakenBack() {
    source.shutsDownIn = Optional.empty();
    source.stopping = Duration.ofSeconds(2);
    move(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    Simulation.drive(
        world, LONG, () -> status().phase().equals("stopping the guest, which did not shut down"));
    var unused = server().cancel(status().migration(), Role.SOURCE);
    runUntil(GuestState.PAUSED);
    assertThat(status().state()).isEqualTo(State.OWNED);
    run(LONG);

    assertStayed("cancelled");
    assertThat(world.counts).doesNotContainKey("guests booted again");
  }

  @Test
  void aServerThatDiesWhileTheGuestIsStoppedLetsItGoOnWithoutAReboot() {
    source.shutsDownIn = Optional.empty();
    move(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    runUntil(GuestState.PAUSED);
    assertThat(status().state()).isEqualTo(State.SENDING);
    source.crash("while its guest stands still", false);
    run(LONG);

    // Its server was started again, or the destination had not waited for that.
    assertStayed("the source");
    assertThat(world.counts).doesNotContainKey("guests booted again");
  }

  @Test
  void whenAStoppedGuestsMoveFailsItGoesOnWithoutAReboot() {
    source.shutsDownIn = Optional.empty();
    move(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    when("closing the exports at the destination", () -> world.cutNetwork(Duration.ofMinutes(1)));
    run(LONG);

    assertStayed("the switch took more than");
    assertThat(world.counts).doesNotContainKey("guests booted again");
  }

  @Test
  void whenTheMoveFailsAfterTheShutdownTheGuestBootsAgain() {
    move();
    when("closing the exports at the destination", () -> world.cutNetwork(Duration.ofMinutes(1)));
    run(LONG);

    assertStayed("the switch took more than");
    assertThat(world.counts).containsEntry("guests booted again", 1);
  }

  @Test
  void aDestinationThatIsLostWhileTheGuestStandsStillIsNotWaitedFor() {
    move();
    when("sending what the guest wrote last", () -> world.cutNetwork(LONG));
    runUntil(GuestState.SHUTDOWN);
    run(SimHost.DEADLINES.resumeWindow());

    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    run(LONG);
    assertStayed("the ");
  }

  @Test
  void aMachineThatCannotBeRunGivesTheGuestBack() {
    destination.refusingToRun = true;
    move();
    run(LONG);

    assertStayed("never ran");
    assertThat(records).contains("B RETURNED");
  }

  @Test
  void aGuestThatShutsDownAfterItsMoveWasCancelledBootsAgain() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(20));
    move();
    Simulation.drive(
        world, LONG, () -> status().phase().equals("waiting for the guest to shut down"));
    var unused = server().cancel(status().migration(), Role.SOURCE);
    run(Duration.ofSeconds(2));
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(status().phase())
        .isEqualTo("watching whether the guest still shuts down, as it was told to");

    run(LONG);
    assertStayed("cancelled");
    assertThat(world.counts).containsEntry("guests booted again", 1);
  }

  @Test
  void oneThatWasStoppedWhileItShutDownBootsAgainOnceItIsDone() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(40));
    move(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    runUntil(GuestState.PAUSED);
    var unused = server().cancel(status().migration(), Role.SOURCE);
    run(Duration.ofSeconds(20));
    assertThat(guest(source)).as("in the midst of it").isEqualTo(GuestState.RUNNING);

    run(LONG);
    assertStayed("cancelled");
    assertThat(world.counts).containsEntry("guests booted again", 1);
  }

  @Test
  void aRequestThatReachesTheGuestOnlyAfterItsBootIsStillTheMoves() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(16));
    move(WarmMove.TIMEOUT, "30");
    Simulation.drive(
        world, LONG, () -> status().phase().equals("waiting for the guest to shut down"));
    source.asking = Duration.ofSeconds(25);
    runUntil(GuestState.SHUTDOWN);
    var unused = server().cancel(status().migration(), Role.SOURCE);
    runUntil(GuestState.RUNNING);
    run(LONG);

    assertStayed("cancelled");
    assertThat(world.counts).containsEntry("guests booted again", 2);
  }

  @Test
  void aServerThatDiesWhileTheGuestIsShutDownBootsItAgain() {
    move();
    runUntil(GuestState.SHUTDOWN);
    assertThat(status().state()).isEqualTo(State.SENDING);
    source.crash("while its guest is shut down", false);
    run(LONG);

    assertStayed("the source's server was restarted during the migration");
    assertThat(world.counts).containsEntry("guests booted again", 1);
  }

  @Test
  void aGuestThatCrashesIsNotBootedAgain() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(20));
    move();
    Simulation.drive(
        world, LONG, () -> status().phase().equals("waiting for the guest to shut down"));
    world.guestDied();
    source.guestEnds(GuestState.GONE);
    run(LONG);

    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(status().outcome().orElseThrow()).contains("the guest stopped while it was");
    assertNothingLeft();
  }

  @Test
  void aGuestThatShutsDownByItselfBeforeItIsToldToEndsItsMove() {
    move(CutOver.OPTION, CutOver.HOLD.word());
    run(Duration.ofSeconds(3));
    world.first.memoryLost = true;
    source.guestEnds(GuestState.SHUTDOWN);
    run(Duration.ofSeconds(2));

    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(status().outcome().orElseThrow()).contains("the guest shut down while it was");
    assertThat(world.counts).doesNotContainKey("guests booted again");
  }

  @Test
  void anOperatorMayHoldItUntilItIsToldToShutDownAndNoLonger() {
    move(CutOver.OPTION, CutOver.HOLD.word());
    source.shutsDownIn = Optional.empty();
    run(Duration.ofMinutes(1));
    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(phases).doesNotContain("asking the guest to shut down");
    steer(CutOver.AUTO);
    Simulation.drive(
        world, LONG, () -> status().phase().equals("waiting for the guest to shut down"));

    CompletableFuture<Void> late =
        server().steer(status().migration(), Role.SOURCE, Steering.Change.PAUSE);
    run(Duration.ofSeconds(1));
    assertThat(late).isCompletedExceptionally();
    assertThat(late.exceptionNow()).isInstanceOf(MigrationException.class);
  }

  @Test
  void aClientMayPauseTheGuestOnceItGoesOnForCertain() throws XenApiException {
    source.shutsDownIn = Optional.empty();
    source.stopping = Duration.ofSeconds(2);
    move(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    Simulation.drive(
        world, LONG, () -> status().phase().equals("stopping the guest, which did not shut down"));
    var unused = server().cancel(status().migration(), Role.SOURCE);
    run(Duration.ofSeconds(1));
    assertThat(status().state()).isEqualTo(State.OWNED);
    var gate = Objects.requireNonNull(source.gate);
    assertThat(
            org.junit.jupiter.api.Assertions.assertThrows(
                    XenApiException.class, () -> gate.enter(world.vm, Operation.PAUSE))
                .code())
        .isEqualTo("OTHER_OPERATION_IN_PROGRESS");

    run(Duration.ofSeconds(5));
    gate.enter(world.vm, Operation.PAUSE).close();
  }

  @Test
  void whatAClientHasPausedStaysSoWhoeverLooksAfterTheGuest() throws XenApiException {
    source.shutsDownIn = Optional.of(Duration.ofMinutes(2));
    move();
    Simulation.drive(
        world, LONG, () -> status().phase().equals("waiting for the guest to shut down"));
    var unused = server().cancel(status().migration(), Role.SOURCE);
    run(Duration.ofSeconds(5));
    SimGuest guest = Objects.requireNonNull(source.guests.get(world.vm));
    try (var pausing = Objects.requireNonNull(source.gate).enter(world.vm, Operation.PAUSE)) {
      guest.state = GuestState.PAUSED;
    }
    source.crash("while it watches the guest", false);
    run(Duration.ofMinutes(1));
    assertThat(source.serverUp()).isTrue();
    assertThat(guest(source)).isEqualTo(GuestState.PAUSED);

    guest.state = GuestState.RUNNING;
    run(LONG);
    assertStayed("cancelled");
    assertThat(world.counts).as("it is watched on").containsEntry("guests booted again", 1);
  }

  private void steer(CutOver when) {
    var unused = server().steer(status().migration(), Role.SOURCE, Steering.Change.of(when));
  }

  @Test
  void noClientsShutdownIsTakenForTheMoves() throws XenApiException {
    var gate = Objects.requireNonNull(source.gate);
    var shuttingDown = gate.enter(world.vm, Operation.SHUTDOWN);
    source.shutsDownIn = Optional.of(Duration.ofSeconds(5));
    shuttingDown.close();
    move();
    Simulation.drive(
        world, LONG, () -> status().phase().equals("waiting for the guest to shut down"));

    for (Operation operation : List.of(Operation.SHUTDOWN, Operation.RESET)) {
      assertThat(
              org.junit.jupiter.api.Assertions.assertThrows(
                      XenApiException.class, () -> gate.enter(world.vm, operation))
                  .code())
          .isEqualTo("OTHER_OPERATION_IN_PROGRESS");
    }
    run(LONG);
    assertMoved();
  }

  @Test
  void whileAClientShutsItDownTheMoveWaits() throws XenApiException {
    move(CutOver.OPTION, CutOver.HOLD.word());
    run(Duration.ofSeconds(3));
    try (var held = Objects.requireNonNull(source.gate).enter(world.vm, Operation.SHUTDOWN)) {
      steer(CutOver.AUTO);
      run(Duration.ofSeconds(5));
      assertThat(status().phase()).isEqualTo("waiting until nothing else goes on with the VM");
      assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    }
    run(LONG);
    assertMoved();
  }
}
