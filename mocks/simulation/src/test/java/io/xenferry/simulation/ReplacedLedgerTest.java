package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A host's ledger is put back as it was when a record became durable, and accepted. */
class ReplacedLedgerTest extends Story {
  ReplacedLedgerTest() {
    super(11);
  }

  /** The ledger as it is when a record becomes durable. */
  private AtomicReference<MemoryLedger.Disk> copyAt(SimHost host, String record) {
    AtomicReference<MemoryLedger.Disk> copy = new AtomicReference<>();
    when(host, record, () -> copy.set(host.ledgerDisk.copy(Optional.of(world.uuid()))));
    return copy;
  }

  /** A host whose server is away comes back with a copy, which an operator accepts. */
  private void comeBackWith(SimHost host, AtomicReference<MemoryLedger.Disk> copy) {
    host.ledgerDisk = copy.get();
    comeBack(host);
    run(Duration.ofSeconds(5));
    assertThat(refusal(host)).as("nothing starts before it is accepted").isNotEmpty();
    server(host).acceptRestoredLedger("root");
  }

  @ParameterizedTest
  @ValueSource(strings = {"intend", "READY", "COMMITTED", "STARTING"})
  void aVmThatHasArrivedIsNotUndoneByAnOlderLedger(String record) {
    var copy = copyAt(destination, record);
    move();
    run(Duration.ofSeconds(20));
    assertMoved();

    kill(destination);
    comeBackWith(destination, copy);
    run(Duration.ofMinutes(2));
    assertThat(state(destination)).isEqualTo(State.RUNNING);
    assertMoved(); // the source has ended it long ago
    // It is as free as before: it moves back.
    new Clients(world, 1).move(destination);
    run(Duration.ofSeconds(30));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aVmThatRanAndIsNotShownYetIsNotUndoneByAnOlderLedger(boolean power) {
    var copy = copyAt(destination, "READY");
    when(source, "GIVEN", () -> crash(destination, power)); // before the VM is shown
    move();
    runUntil(() -> destination.heldDown);
    assertThat(destination.shows(world.vm)).isFalse();
    run(Duration.ofSeconds(10));
    assertThat(source.vdis).as("the source has given it").isEmpty();

    comeBackWith(destination, copy);
    run(Duration.ofMinutes(1));
    assertThat(destination.shows(world.vm)).isTrue();
    assertThat(destination.vdis).hasSize(Scale.SMALL.disks());
    assertThat(guest(destination)).isEqualTo(power ? GuestState.GONE : GuestState.RUNNING);
    assertThat(refusal(destination)).as("the source has answered").isEmpty();
  }

  @Test
  void aMoveThatTheSourceTookBackIsUndoneFromAnOlderLedger() {
    var copy = copyAt(destination, "intend");
    move();
    runUntil(() -> copy.get() != null);
    run(Duration.ofMillis(100));
    kill(destination);
    run(Duration.ofMinutes(2)); // longer than the source waits
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(destination.vdis).isNotEmpty();

    comeBackWith(destination, copy);
    run(Duration.ofMinutes(1));
    assertThat(state(destination)).isEqualTo(State.ABORTED);
    assertThat(destination.allEnded()).isTrue();
    assertThat(destination.leftovers()).isEmpty();
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
  }

  @Test
  void aSourceWhoseLedgerWasPutBackResumesNothingBeforeTheDestinationHasAnswered() {
    var copy = copyAt(source, "SWITCHING");
    when(source, "COMMITTING", () -> kill(source));
    move();
    runUntil(() -> source.heldDown);
    kill(destination);
    comeBackWith(source, copy);
    run(Duration.ofSeconds(30));
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(guest(source)).as("it stands still").isEqualTo(GuestState.PAUSED);
    comeBack(destination);
    run(Duration.ofMinutes(1));
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isNotEqualTo(GuestState.RUNNING);
  }
}
