package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** What is asked before a move begins, and what then stands against it. */
class BeforehandTest extends Story {
  BeforehandTest() {
    super(11);
  }

  private CompletableFuture<Void> checked(MoveRequest request) {
    CompletableFuture<Void> asked = server(source).check(request);
    runUntil(asked::isDone);
    return asked;
  }

  @Test
  void askingBeforehandChangesNothingAndUsesNothingUp() {
    MoveRequest request = request();
    for (int i = 0; i < 3; i++) {
      assertThat(checked(request)).isCompletedWithValue(null);
    }
    assertThat(source.ledgerDisk.rows()).isEmpty();
    assertThat(destination.ledgerDisk.rows()).isEmpty();
    assertThat(destination.leftovers()).isEmpty();
    assertThat(destination.server().ledger.journal()).isEmpty();
    start(request);
    run(Duration.ofSeconds(20));
    assertMoved();
  }

  @Test
  void whatTheDestinationHasAgainstItIsNamedWithItsOwnCode() {
    destination.full = true;
    assertThat(failure(checked(request())).code()).isEqualTo("SR_FULL");
    assertThat(destination.ledgerDisk.rows()).isEmpty();
    destination.full = false;
    kill(destination);
    assertThat(failure(checked(request())).code()).isEqualTo("CANNOT_CONTACT_HOST");
  }

  @Test
  void aMoveUnderWayIsInTheWayOfAnother() {
    MoveRequest first = request();
    MoveRequest second = request();
    start(first);
    run(Duration.ofMillis(50));
    assertThat(state(source)).isEqualTo(State.SENDING);
    assertThat(failure(checked(second)).code()).isEqualTo("OTHER_OPERATION_IN_PROGRESS");
    run(Duration.ofSeconds(20));
    assertMoved();
    // Its id is a tombstone now, and the token used up.
    assertThat(failure(checked(first)).code()).isEqualTo("VM_MIGRATE_FAILED");
  }
}
