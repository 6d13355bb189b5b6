package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Linux in QEMU moves with a reboot: it obeys its power button at the one side and boots at the
 * other, with every record that it had acknowledged.
 */
@Tag("slow")
@Timeout(600)
class LinuxWarmMoveTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  private Moves moves;

  @BeforeEach
  void prepare() throws Exception {
    moves = Moves.linux(FaultyServer.class.getName(), "--target", "auto");
    moves.writing(256 << 10, 2 << 20).startServers();
  }

  @AfterEach
  void end() throws Exception {
    if (moves != null) {
      moves.close();
    }
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private Site beta() {
    return moves.lab().beta();
  }

  @ParameterizedTest
  @CsvSource({DiskFiles.RAW + ", auto", DiskFiles.QCOW2 + ", auto", DiskFiles.QCOW2 + ", snapshot"})
  void bootsAtTheDestinationThereAndBack(String format, String strategy) throws Exception {
    moves.addVm(format, 32L << 20, 32L << 20);
    moves.start();
    for (int boots = 2; boots <= 3; boots++) {
      Site from = moves.owner();
      Xe.Outcome outcome = moves.move(from, "mode=warm", "strategy=" + strategy).await();
      assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
      assertThat(moves.assertWell()).isSameAs(moves.other(from));
      int expected = boots;
      await().atMost(PATIENCE).until(() -> moves.observer().boots() == expected);
    }
  }

  /** Its guest has shut down, and the destination could not run it. */
  @Test
  void aMachineThatIsKilledBeforeItRanGivesTheGuestBack() throws Exception {
    moves.addVm(DiskFiles.RAW, 32L << 20, 32L << 20);
    moves.start();
    new Fault(Moment.AFTER, "READY", Signal.KILL_GUEST).arm(beta().stateDirectory());

    Xe.Outcome outcome = moves.move(alpha(), "mode=warm").await();

    assertThat(outcome.exit()).as(outcome.toString()).isEqualTo(1);
    assertThat(moves.assertWell()).isSameAs(alpha());
    await().atMost(PATIENCE).until(() -> moves.observer().boots() == 2);
  }

  /** Whoever has the VM then, it has booted once, and has all that it had acknowledged. */
  @ParameterizedTest
  @CsvSource({
    "true, AFTER, guests.shutDown, either",
    "true, AFTER, SWITCHING, alpha",
    "true, BEFORE, COMMITTING, alpha",
    "true, AFTER, COMMITTING, beta",
    "false, AFTER, guests.makeMachine, alpha",
    "false, AFTER, COMMITTED, beta",
    "false, AFTER, STARTING, beta"
  })
  void aServerThatIsKilledLeavesTheVmRunningOnOneSide(
      boolean source, Moment moment, String point, String owner) throws Exception {
    moves.addVm(DiskFiles.RAW, 32L << 20, 32L << 20);
    moves.start();
    Site killed = source ? alpha() : beta();
    new Fault(moment, point, Signal.KILL).arm(killed.stateDirectory());

    Xe.Running xe = moves.move(alpha(), "mode=warm");
    assertThat(killed.awaitEnd(PATIENCE)).as("the server ends").isTrue();
    killed.start();

    Xe.Outcome outcome = xe.await();
    assertThat(List.of(moves.assertWell().name(), "either")).as(outcome.toString()).contains(owner);
    await().atMost(PATIENCE).until(() -> moves.observer().boots() == 2);
  }
}
