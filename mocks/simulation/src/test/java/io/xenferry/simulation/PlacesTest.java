package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** One VM's move has the only place that there is, and another one waits. */
class PlacesTest extends Story {
  private final UUID another = world.vms.getLast().uuid;

  PlacesTest() {
    super(12, Scale.PAIR);
  }

  @BeforeEach
  void thePlaceIsTaken() {
    new Clients(world, 1).move(source, another);
    runUntil(() -> !source.ledgerDisk.rows().isEmpty());
    steerAnother(CutOver.HOLD);
    move();
    runUntil(() -> calls().queued() == 1);
    run(Duration.ofMinutes(1));
    assertThat(movesOf(world.vm)).isEmpty();
  }

  private List<LedgerRow> movesOf(UUID vm) {
    return source.ledgerDisk.rows().stream().filter(row -> row.vm().equals(vm)).toList();
  }

  private void steerAnother(CutOver when) {
    MigrationId migration = movesOf(another).getFirst().migration();
    assertThat(server(source).steer(migration, Role.SOURCE, Steering.Change.of(when)))
        .satisfies(done -> run(Duration.ofMillis(1)))
        .isCompleted();
  }

  private void everythingEnds() {
    steerAnother(CutOver.AUTO);
    runUntil(world::calm);
    Simulation.judge(world);
  }

  @Test
  void whoWaitsGetsThePlaceThatIsGivenBack() {
    everythingEnds();
    assertThat(taskStatus()).isEqualTo("success");
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void whoWaitsIsCancelled() {
    calls().cancel(task().ref());
    untilTheTaskEnds();
    assertThat(taskStatus()).isEqualTo("cancelled");
    assertThat(movesOf(world.vm)).isEmpty();
    everythingEnds();
  }

  /** Nobody is behind a move that had not begun. */
  @Test
  void whoWaitsEndsWithTheServer() {
    source.crash("as the story goes", false);
    untilTheTaskEnds();
    assertThat(taskError()).first().isEqualTo("INTERNAL_ERROR");
    assertThat(movesOf(world.vm)).isEmpty();
    everythingEnds();
  }

  /** Seed 6581: it was failed, as if nobody had cancelled it. */
  @Test
  void aCancelThatWasAnsweredOutlivesTheServer() {
    String task = task().ref();
    calls().cancel(task);
    runUntil(() -> SCHEMA.textMap(task(), "current_operations").containsValue("cancel"));
    source.crash("as the story goes", false);
    untilTheTaskEnds();
    assertThat(taskError()).containsExactly("TASK_CANCELLED", task);
    everythingEnds();
  }

  /** A move that a server before this one has begun takes its place all the same. */
  @Test
  void aPlaceIsTakenOverARestartToo() {
    source.crash("as the story goes", false);
    untilTheTaskEnds();
    move();
    runUntil(() -> calls().queued() == 1);
    run(Duration.ofSeconds(10));
    assertThat(movesOf(world.vm)).isEmpty();
    everythingEnds();
    assertThat(taskStatus()).isEqualTo("success");
  }
}
