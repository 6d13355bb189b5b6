package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * SIGSTOP, and SIGCONT much later: to a server until the other one has noticed, which takes it
 * seconds here where it usually takes minutes; to both, to tgtd and to the guest's processes for
 * longer than any deadline of theirs. {@code -Dcase=REGEX} chooses among the cases.
 */
@Timeout(300)
class StoppedMoveTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /** The longest of a hasty server's that can pass in a move is its switch's, 10 s. */
  private static final Duration BOTH = Duration.ofSeconds(12);

  /** The initiator's deadline for a command is 30 s. */
  private static final Duration PROCESS = Duration.ofSeconds(34);

  private static Optional<Moves> kept = Optional.empty();

  /**
   * @param moved whether the VM must have moved in the end; empty where either is right
   */
  record Case(Crash crash, Side side, String record, Optional<Boolean> moved) {
    @Override
    public String toString() {
      return crash + " after " + record + " at the " + side;
    }
  }

  private static List<Case> cases() {
    List<Case> all = new ArrayList<>();
    for (Crash crash :
        List.of(Crash.SOURCE_STOPPED, Crash.DESTINATION_STOPPED, Crash.BOTH_STOPPED)) {
      // What both have slept through has not happened to either.
      Optional<Boolean> early = crash == Crash.BOTH_STOPPED ? Optional.empty() : Optional.of(false);
      all.add(new Case(crash, Side.SOURCE, "copies.start", early));
      all.add(new Case(crash, Side.SOURCE, "guests.sendMemory", early));
      all.add(new Case(crash, Side.SOURCE, "SWITCHING", early));
      all.add(new Case(crash, Side.DESTINATION, "storage.createVdi", early));
      all.add(new Case(crash, Side.DESTINATION, "exports closed", early));
      all.add(new Case(crash, Side.DESTINATION, "READY", Optional.empty()));
      for (String record : List.of("COMMITTING", "GIVEN")) {
        all.add(new Case(crash, Side.SOURCE, record, Optional.of(true)));
      }
      for (String record : List.of("COMMITTED", "STARTING", "RUNNING")) {
        all.add(new Case(crash, Side.DESTINATION, record, Optional.of(true)));
      }
    }
    for (String record : List.of("copies.start", "message close-exports")) {
      all.add(new Case(Crash.TARGET_STOPPED, Side.SOURCE, record, Optional.empty()));
    }
    for (String record : List.of("copies.start", "guests.sendMemory", "SWITCHING")) {
      all.add(new Case(Crash.GUESTS_STOPPED, Side.SOURCE, record, Optional.empty()));
    }
    all.add(new Case(Crash.GUESTS_STOPPED, Side.DESTINATION, "READY", Optional.empty()));
    all.add(new Case(Crash.GUESTS_STOPPED, Side.DESTINATION, "STARTING", Optional.of(true)));
    return all;
  }

  static Stream<Case> all() {
    return cases().stream().filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  private static Moves moves() throws Exception {
    if (kept.isEmpty()) {
      Moves moves = new Moves(HastyServer.class.getName(), "--target", "auto");
      kept = Optional.of(moves);
      moves.install(16L << 20);
      moves.start();
    }
    return kept.get();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void nothingThatStandsStillLosesAnything(Case c) throws Exception {
    Moves moves = moves();
    boolean well = false;
    try {
      survive(moves, c);
      well = true;
    } catch (AssertionError | Exception e) {
      throw new AssertionError(c + ": " + e.getMessage() + moves.describe(), e);
    } finally {
      if (!well) {
        end();
      }
    }
  }

  private static void survive(Moves moves, Case c) throws Exception {
    Site from = moves.owner();
    Site to = moves.other(from);
    Site met = c.side() == Side.SOURCE ? from : to;
    new Fault(Moment.AFTER, c.record(), Signal.HOLD).arm(met.stateDirectory());
    Xe.Running xe = moves.move(from);
    await()
        .atMost(PATIENCE)
        .pollInterval(Duration.ofMillis(5))
        .until(() -> Fault.holds(met.stateDirectory()));
    Set<Side> silent = silent(c.crash());
    Sighting sighting = Sighting.of(from, to, c.crash(), silent);
    List<Long> stopped = processes(c.crash(), from, to);
    signal("STOP", stopped);
    try {
      Fault.release(met.stateDirectory());
      switch (c.crash()) {
        case SOURCE_STOPPED -> await().atMost(PATIENCE).until(() -> destinationHasNoticed(to));
        case DESTINATION_STOPPED -> await().atMost(PATIENCE).until(() -> sourceHasNoticed(from));
        case BOTH_STOPPED -> let(BOTH);
        default -> let(PROCESS);
      }
      sighting.look(from, to);
    } finally {
      signal("CONT", stopped);
    }
    Site owner = moves.assertWell();
    xe.await();
    c.moved().ifPresent(moved -> assertThat(owner).as("owner").isSameAs(moved ? to : from));
    MurderTable.note(sighting, owner == to, c.moved().isPresent());
  }

  private static Set<Side> silent(Crash crash) {
    return switch (crash) {
      case SOURCE_STOPPED -> Set.of(Side.SOURCE);
      case DESTINATION_STOPPED -> Set.of(Side.DESTINATION);
      case BOTH_STOPPED -> Set.of(Side.values());
      default -> Set.of();
    };
  }

  private static List<Long> processes(Crash crash, Site from, Site to) throws Exception {
    return switch (crash) {
      case SOURCE_STOPPED -> List.of(from.pid());
      case DESTINATION_STOPPED -> List.of(to.pid());
      case BOTH_STOPPED -> List.of(from.pid(), to.pid());
      case TARGET_STOPPED -> List.of(TargetDaemon.pid(to));
      case GUESTS_STOPPED -> {
        List<ProcessHandle> guests = new ArrayList<>(GuestProcesses.of(from.stateDirectory()));
        guests.addAll(GuestProcesses.of(to.stateDirectory()));
        yield guests.stream().map(ProcessHandle::pid).toList();
      }
      default -> throw new IllegalArgumentException(crash + " stops nothing");
    };
  }

  private static void signal(String name, List<Long> processes) throws Exception {
    List<String> command = new ArrayList<>(List.of("kill", "-" + name));
    processes.forEach(pid -> command.add(Long.toString(pid)));
    assertThat(new ProcessBuilder(command).start().waitFor())
        .as("kill -%s %s", name, processes)
        .isZero();
  }

  private static void let(Duration pass) {
    long end = System.nanoTime() + pass.toNanos();
    await().atMost(pass.multipliedBy(3)).until(() -> System.nanoTime() - end > 0);
  }

  /** It has given the move up, or says that it hears nothing. */
  static boolean sourceHasNoticed(Site from) throws Exception {
    JsonNode move = MoveFigures.lastMove(from);
    return switch (move.path("state").asText()) {
      case "OWNED" -> true;
      case "COMMITTING", "GIVEN" ->
          move.path("ended").asBoolean()
              || move.path("waiting").path("last-answer").asText().startsWith("no answer");
      default -> false;
    };
  }

  /** It has given the move up, asks for the source, or has the VM. */
  private static boolean destinationHasNoticed(Site to) throws Exception {
    List<String> states =
        MoveFigures.migrations(to).values().stream()
            .filter(state -> state.startsWith("destination ") && !state.endsWith(" ended"))
            .map(state -> state.substring(state.indexOf(' ') + 1))
            .collect(Collectors.toList());
    return states.isEmpty()
        || states.equals(List.of("ABORTED"))
        || states.equals(List.of("RUNNING"))
        || states.equals(List.of("READY")) && asks(to);
  }

  private static boolean asks(Site to) throws Exception {
    try (Rest rest = new Rest(to)) {
      for (JsonNode move : rest.get("/v1/migrations")) {
        if (!move.path("ended").asBoolean() && move.has("waiting")) {
          return true;
        }
      }
      return false;
    }
  }

  @AfterAll
  static void end() throws IOException {
    if (kept.isPresent()) {
      Moves moves = kept.get();
      kept = Optional.empty();
      moves.close();
    }
  }
}
