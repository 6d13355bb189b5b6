package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.state.State;
import io.xenferry.model.Value;
import org.junit.jupiter.api.Test;

/** What clients are told of their moves by tasks. */
class MoveTaskTest extends Story {
  MoveTaskTest() {
    super(11);
  }

  @Test
  void aTaskNamesTheVmWhereItHasGone() {
    move();
    runUntil(world::calm);
    assertMoved();
    assertThat(taskStatus()).isEqualTo("success");
    String there =
        destination.database.snapshot().byUuid("VM", world.vm.toString()).orElseThrow().ref();
    assertThat(SCHEMA.text(task(), "result")).isEqualTo("<value>" + there + "</value>");
    Simulation.judge(world);
  }

  @Test
  void aServerThatIsStartedAnewGoesOnWithTheTask() {
    move();
    when(source, "SWITCHING", () -> source.crash("as the story goes", false));
    runUntil(() -> !source.serverUp());
    assertThat(taskStatus()).isEqualTo("pending");
    untilTheTaskEnds();
    assertThat(taskError()).first().isEqualTo("VM_MIGRATE_FAILED");
    assertThat(state(source)).isEqualTo(State.OWNED);
    runUntil(world::calm);
    Simulation.judge(world);
  }

  /** Seed 56: it began anew, since the task had ended before what was left of the move was gone. */
  @Test
  void theProgressOfAMoveDoesNotFallWhenItsTaskHasEnded() {
    move();
    reach("copying the disks");
    calls().cancel(task().ref());
    runUntil(() -> state(source) == State.OWNED);
    kill(destination);
    untilTheTaskEnds();
    assertThat(taskStatus()).isEqualTo("cancelled");
    assertThat(SCHEMA.get(task(), "progress")).isEqualTo(Value.of(1.0));
    double told = status().progress();
    source.crash("as the story goes", false);
    runUntil(() -> source.calls() != null);
    assertThat(status().ended()).isFalse();
    assertThat(status().progress()).isGreaterThanOrEqualTo(told);
    comeBack(destination);
    runUntil(world::calm);
    assertStayed();
  }

  /** Seed 1581: its client was told that it has failed, and the next server went on with it. */
  @Test
  void nobodyIsToldOfAMoveThatMayHaveBegunBeforeThatIsKnown() {
    when(
        source,
        "insert SENDING",
        () -> {
          throw new LedgerException("the disk does not answer");
        });
    move();
    runUntil(() -> !source.ledgerDisk.rows().isEmpty());
    assertThat(state(source)).isEqualTo(State.SENDING);
    run(SimServer.DEADLINES.retryMost().dividedBy(2));
    assertThat(taskStatus()).isEqualTo("pending");
    source.crash("as the story goes", false);
    runUntil(world::calm);
    assertThat(taskStatus()).isEqualTo("success");
    assertMoved();
    Simulation.judge(world);
  }

  @Test
  void aMoveThatMayHaveBegunIsTakenBackAndThenToldOf() {
    when(
        source,
        "insert SENDING",
        () -> {
          throw new LedgerException("the disk does not answer");
        });
    move();
    runUntil(() -> !source.ledgerDisk.rows().isEmpty());
    untilTheTaskEnds();
    assertThat(taskError()).first().isEqualTo("VM_MIGRATE_FAILED");
    assertThat(state(source)).isEqualTo(State.OWNED);
    runUntil(world::calm);
    assertStayed();
    Simulation.judge(world);
  }

  /** Whoever cancels meanwhile was told that the VM stays, whatever else goes wrong. */
  @Test
  void aMoveThatIsCancelledWhileItBeginsEndsSo() {
    when(
        source,
        "insert SENDING",
        () -> {
          throw new LedgerException("the disk does not answer");
        });
    move();
    runUntil(() -> !source.ledgerDisk.rows().isEmpty());
    calls().cancel(task().ref());
    untilTheTaskEnds();
    assertThat(taskStatus()).isEqualTo("cancelled");
    runUntil(world::calm);
    assertStayed();
    Simulation.judge(world);
  }
}
