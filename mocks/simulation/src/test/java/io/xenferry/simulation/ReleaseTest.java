package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** What an operator's word does that the other host will not come back. */
class ReleaseTest extends Story {
  ReleaseTest() {
    super(12);
  }

  private void release(SimHost host, Role role) {
    CompletableFuture<Void> released = server(host).release(id(host), role, "root");
    run(Duration.ofSeconds(10));
    assertThat(released).isCompleted();
  }

  private void reach(SimHost host, State state) {
    runUntil(() -> host.ledgerDisk.rows().stream().anyMatch(row -> row.state() == state));
  }

  @Test
  void theSourceStillTakesItsGuestBackAndLeavesNothing() {
    when(source, "SWITCHING", () -> switchOff(destination));
    CompletableFuture<MigrationStatus> outcome = start(request());
    reach(source, State.OWNED);

    release(source, Role.SOURCE);

    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(outcome).isCompletedExceptionally();
    assertThat(source.allEnded()).isTrue();
    assertThat(source.leftovers()).isEmpty();
  }

  @Test
  void whoWaitsForAMoveThatIsDecidedHearsOfItsEnd() {
    when(source, "GIVEN", () -> switchOff(destination));
    CompletableFuture<MigrationStatus> outcome = start(request());
    runUntil(() -> source.vms.isEmpty() && source.vdis.isEmpty());
    run(Duration.ofMillis(100));
    assertThat(outcome).as("the destination may not show it yet").isNotDone();
    CompletableFuture<Void> released = server(source).release(id(source), Role.SOURCE, "root");
    run(Duration.ofMillis(100));
    assertThat(released).isCompleted();

    assertThat(outcome).isCompleted();
    assertThat(source.allEnded()).isTrue();
    assertThat(source.vms).isEmpty();
    assertThat(source.vdis).isEmpty();
  }

  @Test
  void aVmThatIsTheDestinationsIsLockedAtTheSourceBeforeItIsForgotten() {
    when(source, "COMMITTING", () -> switchOff(source));
    move();
    reach(destination, State.READY);
    server(destination).forceCommit(id(destination), "root");
    run(Duration.ofSeconds(10));
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    comeBack(source);
    reach(source, State.GIVEN);

    release(source, Role.SOURCE);

    assertThat(source.allEnded()).isTrue();
    assertThat(source.vms).as("the record that was the VM's").doesNotContainKey(world.vm);
    assertThat(source.vms).containsKey(id(source).keptVm());
    assertThat(source.vdis).as("nothing is deleted").hasSize(2);
  }

  @Test
  void aDestinationThatComesBackReadyWhenAllIsForgottenCleansUp() {
    when(destination, "READY", () -> kill(destination));
    move();
    reach(source, State.OWNED);
    release(source, Role.SOURCE);
    run(Duration.ofHours(4));
    server(source).purge();
    run(Duration.ofSeconds(1));
    assertThat(source.ledgerDisk.rows()).isEmpty();

    comeBack(destination);
    reach(destination, State.ABORTED);
    run(Duration.ofMinutes(1));

    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isEqualTo(GuestState.GONE);
    assertThat(destination.leftovers()).isEmpty();
  }
}
