package io.xenferry.packaging;

import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Murders.Murder;
import io.xenferry.packaging.Point.Victims;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * As {@link MurderTest}, with Linux in QEMU, which both servers leave alone at once after each
 * effect that concerns its processes. {@code -Dcase=REGEX} chooses among the cases.
 */
@Timeout(300)
class LinuxMurderTest {
  private static final Murders MURDERS = new Murders(LinuxMurderTest::open);

  private static Moves open() throws Exception {
    Moves moves = Moves.linux(FaultyServer.class.getName(), "--target", "auto");
    try {
      moves.install(16L << 20, 16L << 20);
      moves.start();
      return moves;
    } catch (Exception | AssertionError e) {
      moves.close();
      throw e;
    }
  }

  static Stream<Murder> all() {
    Stream<Point> source =
        Stream.of(
                "copies.start",
                "guests.sendMemory",
                "job.prepareSwitch",
                "guests.pause",
                "job.drain",
                "guests.finishMemory",
                "message commit",
                "guests.destroy")
            .map(name -> Point.of(Side.SOURCE, Moment.AFTER, name));
    Stream<Point> destination =
        Stream.of("guests.startIncoming", "guests.activate", "guests.resume", "metadata.reveal")
            .map(name -> Point.of(Side.DESTINATION, Moment.AFTER, name));
    return Stream.concat(source, destination)
        .flatMap(point ->
            List.of(Victims.BOTH, Victims.DESTINATION).stream()
                .map(victims -> new Murder(point, victims)))
        .filter(c -> c.toString().matches(System.getProperty("case", ".*")));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noMurderLosesAnything(Murder murder) throws Exception {
    MURDERS.survive(murder);
  }

  @AfterAll
  static void end() throws Exception {
    MURDERS.close();
  }
}
