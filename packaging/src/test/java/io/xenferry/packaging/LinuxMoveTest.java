package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Linux in QEMU moves from one server to another and back, and goes on writing all the time. */
@Timeout(300)
class LinuxMoveTest {

  @ParameterizedTest
  @ValueSource(strings = {"tgtd", "embedded"})
  void aRunningLinuxGuestMovesThereAndBack(String target) throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", target)) {
      moves.install(32L << 20, 48L << 20);
      moves.start();
      Site from = moves.lab().alpha();
      for (int i = 0; i < 2; i++) {
        Xe.Outcome outcome = moves.move(from).await();
        assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
        Site to = moves.assertWell();
        assertThat(to).isSameAs(moves.other(from));
        assertThat(moves.observer().where()).startsWith(to.stateDirectory().toString());
        from = to;
      }
    }
  }
}
