package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Murders.Murder;
import io.xenferry.packaging.Point.Victims;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@code kill -9} of the source's server, of the destination's, and of both in one call, before and
 * after each record and each effect of a move. They are started again, and then all must be well:
 * the VM runs on one side, no acknowledged write is lost, what the dead have left passes the
 * checker, and nothing is left over. What an operator sees meanwhile goes into the table of {@code
 * docs/murder.md}. {@code -Dcase=REGEX} chooses among the cases.
 */
@Timeout(300)
class MurderTest {
  private static final Murders MURDERS = new Murders(MurderTest::open);

  private static Moves open() throws Exception {
    Moves moves = new Moves(FaultyServer.class.getName(), "--target", "auto");
    try {
      moves.install(16L << 20);
      moves.start();
      return moves;
    } catch (Exception | AssertionError e) {
      moves.close();
      throw e;
    }
  }

  static Stream<Murder> some() {
    return Stream.of(
        new Murder(Point.of(Side.SOURCE, Moment.AFTER, "message commit"), Victims.BOTH),
        new Murder(Point.of(Side.DESTINATION, Moment.BEFORE, "storage.seal"), Victims.BOTH));
  }

  static Stream<Murder> all() {
    return Point.all().stream()
        .flatMap(point -> Stream.of(Victims.values()).map(victims -> new Murder(point, victims)))
        .filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("some")
  void someMurdersLoseNothing(Murder murder) throws Exception {
    MURDERS.survive(murder);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noMurderLosesAnything(Murder murder) throws Exception {
    MURDERS.survive(murder);
  }

  /** So that the list of points is whole: none is missing, and none is made up. */
  @Test
  @Tag("slow")
  void everyEffectIsAPoint() throws Exception {
    Moves moves = MURDERS.moves();
    Set<String> met = new TreeSet<>();
    for (boolean cancelled : List.of(false, true)) {
      Site from = moves.owner();
      for (Site site : moves.sites()) {
        FaultPoint.note(site.stateDirectory());
      }
      Murders.begin(moves, from, cancelled).await();
      moves.assertWell();
      for (Side side : Side.values()) {
        Site site = side == Side.SOURCE ? from : moves.other(from);
        FaultPoint.met(site.stateDirectory())
            .forEach(name -> met.add(side + (cancelled ? " cancelled " : " ") + name));
      }
    }
    Set<String> listed =
        Point.all().stream()
            .filter(p -> p.name().contains(".") || p.name().startsWith("message "))
            .map(p -> p.side() + (p.cancelled() ? " cancelled " : " ") + p.name())
            .collect(Collectors.toCollection(TreeSet::new));
    Set<String> missing = new TreeSet<>(met);
    missing.removeIf(
        name -> listed.contains(name) || listed.contains(name.replace(" cancelled", "")));
    assertThat(missing).as("effects that no murder knows").isEmpty();
    assertThat(met).as("effects that do not come about").containsAll(listed);
  }

  @AfterAll
  static void end() throws Exception {
    MURDERS.close();
  }
}
