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
 * As {@link ServerDeathTest}, with Linux in QEMU: either server is killed before and after each
 * record, and the guest runs on exactly one side, with every record that it had acknowledged.
 * {@code -Dcase=REGEX} chooses among the cases.
 */
@Timeout(300)
class LinuxServerDeathTest {
  private static final Deaths DEATHS = new Deaths(() -> open(DiskFiles.RAW));

  /** Snapshots are taken of the disks meanwhile. */
  private static final Deaths BY_SNAPSHOTS =
      new Deaths(() -> open(DiskFiles.QCOW2), "strategy=snapshot");

  private static Moves open(String format) throws Exception {
    Moves moves = Moves.linux(FaultyServer.class.getName(), "--target", "auto");
    try {
      moves.startServers();
      moves.addVm(format, 16L << 20, 16L << 20);
      moves.start();
      return moves;
    } catch (Exception | AssertionError e) {
      moves.close();
      throw e;
    }
  }

  static Stream<Death> one() {
    return Stream.of(new Death(Side.DESTINATION, new Fault(Moment.AFTER, "STARTING", Signal.KILL)));
  }

  static Stream<Death> all() {
    return Death.all(Signal.KILL);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("one")
  void theWorstDeathLosesNothing(Death death) throws Exception {
    DEATHS.survive(death);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noDeathLosesAnything(Death death) throws Exception {
    DEATHS.survive(death);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  @Tag("slow")
  void noDeathLosesAnythingOrLeavesASnapshot(Death death) throws Exception {
    BY_SNAPSHOTS.survive(death);
  }

  @AfterAll
  static void end() throws IOException {
    DEATHS.close();
    BY_SNAPSHOTS.close();
  }
}
