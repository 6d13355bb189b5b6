package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.WarmMove;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A move with a reboot, of which one server dies, or its host loses power, after each record of
 * either side in turn: the VM, which ran before, runs again on one side.
 */
class WarmDeathsTest {
  /** Long before the rest of these moves is over; more than there are records. */
  private static final int MOST_RECORDS = 100;

  /** A host that has lost its power has lost its guests, as those of any other VM. */
  private static final Set<State> LOST_WITH_THE_SOURCE =
      EnumSet.of(State.SENDING, State.SWITCHING, State.OWNED);

  private static final Set<State> LOST_WITH_THE_DESTINATION =
      EnumSet.of(State.STARTING, State.RUNNING);

  /** A move that is over; what died, died after the record with this number. */
  private static final class Death extends Story {
    int records;
    Optional<State> sourceThen = Optional.empty();
    Optional<State> destinationThen = Optional.empty();

    Death(int after, boolean ofSource, boolean power, boolean hard) {
      super(31);
      source.shutsDownIn = hard ? Optional.empty() : Optional.of(Duration.ofMillis(300));
      world.onDurable =
          (host, what) -> {
            if (++records == after) {
              sourceThen = standing(source);
              destinationThen = standing(destination);
              (ofSource ? source : destination).crash("after " + host.name + " " + what, power);
            }
          };
      begin();
      if (hard) {
        move(WarmMove.MODE, WarmMove.WARM, WarmMove.TIMEOUT, "2", WarmMove.HARD, "true");
      } else {
        move(WarmMove.MODE, WarmMove.WARM);
      }
      runUntil(() -> records > 0 && world.calm());
    }

    private static Optional<State> standing(SimHost host) {
      return host.ledgerDisk.rows().stream().map(LedgerRow::state).findFirst();
    }

    boolean happened() {
      return sourceThen.isPresent();
    }

    boolean runs(SimHost host) {
      return guest(host) == GuestState.RUNNING;
    }

    boolean shows(SimHost host) {
      return host.shows(world.vm);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "true, false, false",
    "true, true, false",
    "false, false, false",
    "false, true, false",
    "true, false, true",
    "false, false, true"
  })
  void theVmRunsAgainOnOneSide(boolean ofSource, boolean power, boolean hard) {
    int movedAllTheSame = 0;
    int stayed = 0;
    for (int after = 1; after < MOST_RECORDS; after++) {
      Death death = new Death(after, ofSource, power, hard);
      if (!death.happened()) {
        break;
      }
      boolean lost =
          power
              && (ofSource
                  ? death.sourceThen.filter(LOST_WITH_THE_SOURCE::contains).isPresent()
                  : death.destinationThen.filter(LOST_WITH_THE_DESTINATION::contains).isPresent());
      death.assertOver();
      assertThat(death.shows(death.source))
          .as(death::told)
          .isNotEqualTo(death.shows(death.destination));
      if (!lost) {
        assertThat(death.runs(death.source))
            .as(death::told)
            .isNotEqualTo(death.runs(death.destination));
      }
      if (death.runs(death.destination)) {
        movedAllTheSame++;
      } else if (death.runs(death.source)) {
        stayed++;
      }
    }
    assertThat(movedAllTheSame).isPositive();
    assertThat(stayed).isGreaterThanOrEqualTo(ofSource && power ? 0 : 1);
  }
}
