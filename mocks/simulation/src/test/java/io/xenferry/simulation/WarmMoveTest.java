package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.migration.state.WarmMove;
import io.xenferry.model.XenApiException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Moves with a reboot, in the simulated world, which looks at its invariants all the time. */
class WarmMoveTest extends Story {
  private static final Duration SOON = Duration.ofMillis(300);
  private static final Duration LONG = Duration.ofMinutes(7);

  private final List<String> records = new ArrayList<>();
  private final List<String> phases = new ArrayList<>();

  WarmMoveTest() {
    super(31);
    source.shutsDownIn = Optional.of(SOON);
    world.onDurable = (host, what) -> records.add(host.name + " " + what);
  }

  @BeforeEach
  void listen() {
    server(source).listen(status -> phases.add(status.phase()));
  }

  private void moveWarm(String... options) {
    Stream<String> warm = Stream.of(WarmMove.MODE, WarmMove.WARM);
    move(Stream.concat(warm, Stream.of(options)).toArray(String[]::new));
    run(Duration.ofMillis(50));
  }

  private void runUntil(GuestState state) {
    runUntil(() -> guest(source) == state);
  }

  /** The guest has booted again at the source, or has run there all the time. */
  private void assertStayed(String why) {
    assertStayed();
    assertThat(status().outcome().orElseThrow()).contains(why);
  }

  private void assertBootedAgain(int times) {
    assertThat(world.counts.getOrDefault("guests booted again", 0)).isEqualTo(times);
  }

  @Test
  void theGuestShutsDownAndBootsAtTheDestination() {
    moveWarm();
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
    moveWarm(WarmMove.TIMEOUT, "30");
    run(LONG);

    assertStayed("did not shut down within 30 s");
    assertBootedAgain(0);
  }

  @Test
  void oneThatDoesNotShutDownIsStoppedWhereThatIsWanted() {
    source.shutsDownIn = Optional.empty();
    moveWarm(WarmMove.TIMEOUT, "30", WarmMove.HARD, "true");
    run(LONG);

    assertMoved();
  }

  @Test
  void oneThatRebootsInsteadIsAskedOnceMore() {
    source.asksUnheeded = 1;
    moveWarm(WarmMove.TIMEOUT, "30");
    run(LONG);

    assertMoved();
    assertThat(phases).contains("asking the guest's agent to shut it down");
  }

  @Test
  void aStopThatComesAboutAfterTheCancelIsTakenBack() {
    source.shutsDownIn = Optional.empty();
    source.stopping = Duration.ofSeconds(2);
    moveWarm(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    reach("stopping the guest, which did not shut down");
    cancel();
    runUntil(GuestState.PAUSED);
    assertThat(status().state()).isEqualTo(State.OWNED);
    run(LONG);

    assertStayed("cancelled");
    assertBootedAgain(0);
  }

  @Test
  void aServerThatDiesWhileTheGuestIsStoppedLetsItGoOnWithoutAReboot() {
    source.shutsDownIn = Optional.empty();
    moveWarm(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    runUntil(GuestState.PAUSED);
    assertThat(status().state()).isEqualTo(State.SENDING);
    source.crash("while its guest stands still", false);
    run(LONG);

    // Its server was started again, or the destination had not waited for that.
    assertStayed("the source");
    assertBootedAgain(0);
  }

  @Test
  void whenAStoppedGuestsMoveFailsItGoesOnWithoutAReboot() {
    source.shutsDownIn = Optional.empty();
    moveWarm(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    whenIn(
        source,
        "closing the exports at the destination",
        () -> world.cutNetwork(Duration.ofMinutes(1)));
    run(LONG);

    assertStayed("the switch took more than");
    assertBootedAgain(0);
  }

  @Test
  void whenTheMoveFailsAfterTheShutdownTheGuestBootsAgain() {
    moveWarm();
    whenIn(
        source,
        "closing the exports at the destination",
        () -> world.cutNetwork(Duration.ofMinutes(1)));
    run(LONG);

    assertStayed("the switch took more than");
    assertBootedAgain(1);
  }

  @Test
  void aDestinationThatIsLostWhileTheGuestStandsStillIsNotWaitedFor() {
    moveWarm();
    whenIn(source, "sending what the guest wrote last", () -> world.cutNetwork(LONG));
    runUntil(GuestState.SHUTDOWN);
    run(SimServer.DEADLINES.resumeWindow());

    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    run(LONG);
    assertStayed("the ");
  }

  @Test
  void aMachineThatCannotBeRunGivesTheGuestBack() {
    destination.refusingToRun = true;
    moveWarm();
    run(LONG);

    assertStayed("never ran");
    assertThat(records).contains("B RETURNED");
  }

  @Test
  void aGuestThatShutsDownAfterItsMoveWasCancelledBootsAgain() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(20));
    moveWarm();
    reach("waiting for the guest to shut down");
    cancel();
    run(Duration.ofSeconds(2));
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(status().phase())
        .isEqualTo("watching whether the guest still shuts down, as it was told to");

    run(LONG);
    assertStayed("cancelled");
    assertBootedAgain(1);
  }

  @Test
  void oneThatWasStoppedWhileItShutDownBootsAgainOnceItIsDone() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(40));
    moveWarm(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    runUntil(GuestState.PAUSED);
    cancel();
    run(Duration.ofSeconds(20));
    assertThat(guest(source)).as("in the midst of it").isEqualTo(GuestState.RUNNING);

    run(LONG);
    assertStayed("cancelled");
    assertBootedAgain(1);
  }

  @Test
  void aRequestThatReachesTheGuestOnlyAfterItsBootIsStillTheMoves() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(16));
    moveWarm(WarmMove.TIMEOUT, "30");
    reach("waiting for the guest to shut down");
    source.asking = Duration.ofSeconds(25);
    runUntil(GuestState.SHUTDOWN);
    cancel();
    runUntil(GuestState.RUNNING);
    run(LONG);

    assertStayed("cancelled");
    assertBootedAgain(2);
  }

  @Test
  void aServerThatDiesWhileTheGuestIsShutDownBootsItAgain() {
    moveWarm();
    runUntil(GuestState.SHUTDOWN);
    assertThat(status().state()).isEqualTo(State.SENDING);
    source.crash("while its guest is shut down", false);
    run(LONG);

    assertStayed("the source's server was restarted during the migration");
    assertBootedAgain(1);
  }

  @Test
  void aGuestThatCrashesIsNotBootedAgain() {
    source.shutsDownIn = Optional.of(Duration.ofSeconds(20));
    moveWarm();
    reach("waiting for the guest to shut down");
    world.guestDied();
    source.ends.byItself(GuestState.GONE);
    run(LONG);

    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(status().outcome().orElseThrow()).contains("the guest stopped while it was");
    assertOver();
  }

  @Test
  void aGuestThatShutsDownByItselfBeforeItIsToldToEndsItsMove() {
    moveWarm(CutOver.OPTION, CutOver.HOLD.word());
    run(Duration.ofSeconds(3));
    world.first.memoryLost = true;
    source.ends.byItself(GuestState.SHUTDOWN);
    run(Duration.ofSeconds(2));

    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(status().outcome().orElseThrow()).contains("the guest shut down while it was");
    assertBootedAgain(0);
  }

  @Test
  void anOperatorMayHoldItUntilItIsToldToShutDownAndNoLonger() {
    moveWarm(CutOver.OPTION, CutOver.HOLD.word());
    source.shutsDownIn = Optional.empty();
    run(Duration.ofMinutes(1));
    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(phases).doesNotContain("asking the guest to shut down");
    steer(CutOver.AUTO);
    reach("waiting for the guest to shut down");

    CompletableFuture<Void> late = steer(Steering.Change.PAUSE);
    run(Duration.ofSeconds(1));
    assertThat(late).isCompletedExceptionally();
    assertThat(failure(late).code()).isEqualTo("OPERATION_NOT_ALLOWED");
  }

  @Test
  void aClientMayPauseTheGuestOnceItGoesOnForCertain() {
    source.shutsDownIn = Optional.empty();
    source.stopping = Duration.ofSeconds(2);
    moveWarm(WarmMove.TIMEOUT, "5", WarmMove.HARD, "true");
    reach("stopping the guest, which did not shut down");
    cancel();
    run(Duration.ofSeconds(1));
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(refusal(source, Operation.PAUSE)).contains("OTHER_OPERATION_IN_PROGRESS");

    run(Duration.ofSeconds(5));
    assertThat(refusal(source, Operation.PAUSE)).isEmpty();
  }

  @Test
  void whatAClientHasPausedStaysSoWhoeverLooksAfterTheGuest() throws XenApiException {
    source.shutsDownIn = Optional.of(Duration.ofMinutes(2));
    moveWarm();
    reach("waiting for the guest to shut down");
    cancel();
    run(Duration.ofSeconds(5));
    SimGuest guest = process();
    try (var pausing = gate(source).enter(world.vm, Operation.PAUSE)) {
      guest.state = GuestState.PAUSED;
    }
    source.crash("while it watches the guest", false);
    run(Duration.ofMinutes(1));
    assertThat(source.serverUp()).isTrue();
    assertThat(guest(source)).isEqualTo(GuestState.PAUSED);

    guest.state = GuestState.RUNNING;
    run(LONG);
    assertStayed("cancelled");
    assertBootedAgain(1); // it was watched on
  }

  @Test
  void noClientsShutdownIsTakenForTheMoves() throws XenApiException {
    var shuttingDown = gate(source).enter(world.vm, Operation.SHUTDOWN);
    source.shutsDownIn = Optional.of(Duration.ofSeconds(5));
    shuttingDown.close();
    moveWarm();
    reach("waiting for the guest to shut down");

    for (Operation operation : List.of(Operation.SHUTDOWN, Operation.RESET)) {
      assertThat(refusal(source, operation)).contains("OTHER_OPERATION_IN_PROGRESS");
    }
    run(LONG);
    assertMoved();
  }

  @Test
  void whileAClientShutsItDownTheMoveWaits() throws XenApiException {
    moveWarm(CutOver.OPTION, CutOver.HOLD.word());
    run(Duration.ofSeconds(3));
    try (var held = gate(source).enter(world.vm, Operation.SHUTDOWN)) {
      steer(CutOver.AUTO);
      run(Duration.ofSeconds(5));
      assertThat(status().phase()).isEqualTo("waiting until nothing else goes on with the VM");
      assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    }
    run(LONG);
    assertMoved();
  }
}
