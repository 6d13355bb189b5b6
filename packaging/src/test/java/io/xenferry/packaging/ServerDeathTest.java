package io.xenferry.packaging;

import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.io.IOException;
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
  private static final Deaths DEATHS = new Deaths(ServerDeathTest::open);

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

  static Stream<Death> some() {
    return Stream.of(
        new Death(Side.SOURCE, new Fault(Moment.AFTER, "COMMITTING", Signal.KILL)),
        new Death(Side.DESTINATION, new Fault(Moment.BEFORE, "READY", Signal.KILL)),
        new Death(Side.DESTINATION, new Fault(Moment.AFTER, "STARTING", Signal.KILL)));
  }

  static Stream<Death> all() {
    return Death.all(Signal.KILL, Signal.TERM);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("some")
  void someDeathsLoseNothing(Death death) throws Exception {
    DEATHS.survive(death);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noDeathLosesAnything(Death death) throws Exception {
    DEATHS.survive(death);
  }

  @AfterAll
  static void end() throws IOException {
    DEATHS.close();
  }
}
