package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Each server ends, by SIGKILL or SIGTERM, before and after each record that it writes during a
 * move. It is started again, and then all must be well: the VM runs on one side, both ledgers agree
 * on which, no acknowledged write is lost, nothing is left on the other side, and the VM can be
 * moved again, which is what the next case does. {@code -Dcase=REGEX} chooses among the cases.
 */
@Timeout(300)
class ServerDeathTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  private static final List<String> SOURCE =
      List.of("SENDING", "SWITCHING", "COMMITTING", "GIVEN", "half ended", "ended");

  private static final List<String> DESTINATION =
      List.of(
          "RECEIVING",
          "objects intended",
          "guest intended",
          "exports closed",
          "READY",
          "COMMITTED",
          "STARTING",
          "RUNNING",
          "object done",
          "half ended",
          "ended");

  private static Optional<Moves> kept = Optional.empty();

  enum Side {
    SOURCE,
    DESTINATION
  }

  record Case(Side side, Fault fault) {
    /** Whether the VM must have moved in the end; empty where either is right. */
    Optional<Boolean> moves() {
      List<String> records = side == Side.SOURCE ? SOURCE : DESTINATION;
      int at = 2 * records.indexOf(fault.record()) + (fault.moment() == Moment.BEFORE ? 0 : 1);
      String pointOfNoReturn = side == Side.SOURCE ? "COMMITTING" : "COMMITTED";
      if (at > 2 * records.indexOf(pointOfNoReturn)) {
        return Optional.of(true);
      }
      if (fault.record().equals("RECEIVING") && fault.moment() == Moment.BEFORE) {
        // A destination that knows nothing of it is asked to open again.
        return Optional.empty();
      }
      String lastHope = side == Side.SOURCE ? "COMMITTING" : "READY";
      return fault.signal() == Signal.KILL && at <= 2 * records.indexOf(lastHope)
          ? Optional.of(false)
          : Optional.empty();
    }

    @Override
    public String toString() {
      return (side == Side.SOURCE ? "source: " : "destination: ") + fault;
    }
  }

  static Stream<Case> some() {
    return Stream.of(
        new Case(Side.SOURCE, new Fault(Moment.AFTER, "COMMITTING", Signal.KILL)),
        new Case(Side.DESTINATION, new Fault(Moment.BEFORE, "READY", Signal.KILL)),
        new Case(Side.DESTINATION, new Fault(Moment.AFTER, "STARTING", Signal.KILL)));
  }

  static Stream<Case> all() {
    List<Case> all = new ArrayList<>();
    for (Signal signal : Signal.values()) {
      for (Side side : Side.values()) {
        for (String record : side == Side.SOURCE ? SOURCE : DESTINATION) {
          for (Moment moment : Moment.values()) {
            all.add(new Case(side, new Fault(moment, record, signal)));
          }
        }
      }
    }
    return all.stream().filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("some")
  void someDeathsLoseNothing(Case death) throws Exception {
    survive(death);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noDeathLosesAnything(Case death) throws Exception {
    survive(death);
  }

  private static void survive(Case death) throws Exception {
    Moves moves = laboratory();
    boolean well = false;
    try {
      survive(moves, death);
      well = true;
    } catch (AssertionError | IOException e) {
      throw new AssertionError(death + ": " + e.getMessage() + moves.describe(), e);
    } finally {
      if (!well) {
        kept = Optional.empty();
        moves.close();
      }
    }
  }

  /** The laboratory goes from case to case as long as all is well in it. */
  private static Moves laboratory() throws Exception {
    if (kept.isEmpty()) {
      Moves moves = new Moves(FaultyServer.class.getName(), "--target", "auto");
      kept = Optional.of(moves);
      moves.install(16L << 20);
      moves.start();
    }
    return kept.get();
  }

  private static void survive(Moves moves, Case death) throws Exception {
    Site from = moves.owner();
    Site to = moves.other(from);
    Site dying = death.side() == Side.SOURCE ? from : to;
    death.fault().arm(dying.stateDirectory());
    Xe.Running xe = moves.move(from);
    assertThat(dying.awaitEnd(PATIENCE)).as("the server ends").isTrue();
    dying.start();
    Site owner = moves.assertWell();
    xe.await();
    death.moves().ifPresent(moved -> assertThat(owner).as("owner").isSameAs(moved ? to : from));
  }

  @AfterAll
  static void end() throws IOException {
    if (kept.isPresent()) {
      kept.get().close();
      kept = Optional.empty();
    }
  }
}
