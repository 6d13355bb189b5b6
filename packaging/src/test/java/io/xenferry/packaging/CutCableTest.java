package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.packaging.Cable.Cut;
import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The network between two servers swallows what goes one way, or either, from some record of a move
 * on, and for longer than a deadline of those that a move has at that time; these are shorter here
 * than usual. Then it is mended, and all must be well. {@code -Dcase=REGEX} chooses among the
 * cases.
 */
@Timeout(300)
class CutCableTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  private static Optional<Laid> kept = Optional.empty();

  private record Laid(Cable cable, Moves moves) {
    void close() throws IOException {
      try (cable) {
        moves.close();
      }
    }
  }

  /**
   * @param moved whether the VM must have moved in the end; empty where either is right
   */
  record Case(Side side, String record, Cut cut, Optional<Boolean> moved) {
    @Override
    public String toString() {
      return side + " after " + record + ": " + cut;
    }
  }

  private static List<Case> cases() {
    List<Case> all = new ArrayList<>();
    for (Cut cut : Cut.values()) {
      all.add(new Case(Side.SOURCE, "SENDING", cut, Optional.of(false)));
      all.add(new Case(Side.DESTINATION, "RECEIVING", cut, Optional.of(false)));
      all.add(new Case(Side.SOURCE, "copies.start", cut, Optional.of(false)));
      all.add(new Case(Side.SOURCE, "guests.sendMemory", cut, Optional.of(false)));
      all.add(new Case(Side.SOURCE, "SWITCHING", cut, Optional.of(false)));
      all.add(new Case(Side.DESTINATION, "exports closed", cut, Optional.of(false)));
      // It may have said so already.
      all.add(new Case(Side.DESTINATION, "READY", cut, Optional.empty()));
      for (String record : List.of("COMMITTING", "GIVEN", "half ended")) {
        all.add(new Case(Side.SOURCE, record, cut, Optional.of(true)));
      }
      for (String record : List.of("COMMITTED", "STARTING", "RUNNING")) {
        all.add(new Case(Side.DESTINATION, record, cut, Optional.of(true)));
      }
    }
    return all;
  }

  static Stream<Case> some() {
    return Stream.of(new Case(Side.SOURCE, "COMMITTING", Cut.TO_DESTINATION, Optional.of(true)));
  }

  static Stream<Case> all() {
    return cases().stream().filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  private static Laid laid() throws Exception {
    if (kept.isEmpty()) {
      Cable cable = Cable.lay();
      Moves moves = null;
      try {
        moves = new Moves(cable, HastyServer.class.getName(), "--target", "auto");
        Laid laid = new Laid(cable, moves);
        kept = Optional.of(laid);
        moves.install(16L << 20);
        moves.start();
      } catch (Exception | AssertionError e) {
        end();
        throw e;
      }
    }
    return kept.get();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("some")
  void someCutsLoseNothing(Case cut) throws Exception {
    survive(cut);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noCutLosesAnything(Case cut) throws Exception {
    survive(cut);
  }

  private static void survive(Case c) throws Exception {
    Laid laid = laid();
    boolean well = false;
    try {
      survive(laid, c);
      well = true;
    } catch (AssertionError | Exception e) {
      throw new AssertionError(c + ": " + e.getMessage() + laid.moves().describe(), e);
    } finally {
      if (!well) {
        end();
      }
    }
  }

  private static void survive(Laid laid, Case c) throws Exception {
    Moves moves = laid.moves();
    Site from = moves.owner();
    Site to = moves.other(from);
    Site met = c.side() == Side.SOURCE ? from : to;
    new Fault(Moment.AFTER, c.record(), Signal.HOLD).arm(met.stateDirectory());
    Xe.Running xe = moves.move(from);
    await()
        .atMost(PATIENCE)
        .pollInterval(Duration.ofMillis(5))
        .until(() -> Fault.holds(met.stateDirectory()));
    Sighting sighting = Sighting.of(from, to, crash(c.cut()), Set.of());
    laid.cable().cut(c.cut(), from.address());
    try {
      Fault.release(met.stateDirectory());
      await().atMost(PATIENCE).until(() -> StoppedMoveTest.sourceHasNoticed(from));
      sighting.look(from, to);
    } finally {
      laid.cable().mend();
    }
    Site owner = moves.assertWell();
    xe.await();
    c.moved().ifPresent(moved -> assertThat(owner).as("owner").isSameAs(moved ? to : from));
    MurderTable.note(sighting, owner == to, c.moved().isPresent());
  }

  private static Crash crash(Cut cut) {
    return switch (cut) {
      case TO_DESTINATION -> Crash.CUT_TO_DESTINATION;
      case TO_SOURCE -> Crash.CUT_TO_SOURCE;
      case BOTH_WAYS -> Crash.CUT_BOTH_WAYS;
    };
  }

  @AfterAll
  static void end() throws IOException {
    if (kept.isPresent()) {
      Laid laid = kept.get();
      kept = Optional.empty();
      laid.close();
    }
  }
}
