package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.WarmMove;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
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

  private final List<String> trace = new ArrayList<>();

  /** A move that is over; what died, died after the record with this number. */
  private final class Death {
    final World world = new World(31, Faults.NONE, Variant.SOUND, trace);
    final SimHost source = world.hosts.get(0);
    final SimHost destination = world.hosts.get(1);
    int records;
    Optional<State> sourceThen = Optional.empty();
    Optional<State> destinationThen = Optional.empty();

    Death(int after, boolean ofSource, boolean power, Map<String, String> options) {
      trace.clear();
      Simulation.populate(world, true);
      source.shutsDownIn =
          options.isEmpty() ? Optional.of(Duration.ofMillis(300)) : Optional.empty();
      world.onDurable =
          (host, what) -> {
            if (++records == after) {
              sourceThen = state(source);
              destinationThen = state(destination);
              (ofSource ? source : destination).crash("after " + host.name + " " + what, power);
            }
          };
      world.hosts.forEach(SimHost::startServer);
      world.tick();
      Simulation.drive(world, Duration.ofMillis(200), () -> false);
      Map<String, String> all = new java.util.HashMap<>(options);
      all.put(WarmMove.MODE, WarmMove.WARM);
      Clients clients = new Clients(world, 1);
      clients.with(all);
      clients.move(source);
      Simulation.drive(world, Duration.ofMinutes(10), () -> records > 0 && world.calm());
    }

    private static Optional<State> state(SimHost host) {
      return host.ledgerDisk.rows().stream().map(row -> row.state()).findFirst();
    }

    boolean happened() {
      return sourceThen.isPresent();
    }

    boolean runs(SimHost host) {
      SimGuest guest = host.guests.get(world.vm);
      return guest != null && guest.state == GuestState.RUNNING;
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
    Map<String, String> options =
        hard ? Map.of(WarmMove.TIMEOUT, "2", WarmMove.HARD, "true") : Map.of();
    int movedAllTheSame = 0;
    int stayed = 0;
    for (int after = 1; after < MOST_RECORDS; after++) {
      Death death = new Death(after, ofSource, power, options);
      if (!death.happened()) {
        break;
      }
      boolean lost =
          power
              && (ofSource
                  ? death.sourceThen.filter(LOST_WITH_THE_SOURCE::contains).isPresent()
                  : death.destinationThen.filter(LOST_WITH_THE_DESTINATION::contains).isPresent());
      String told = String.join("\n", trace);
      assertThat(death.world.calm()).as(told).isTrue();
      assertThat(death.source.leftovers()).as(told).isEmpty();
      assertThat(death.destination.leftovers()).as(told).isEmpty();
      assertThat(death.source.shows(death.world.vm))
          .as(told)
          .isNotEqualTo(death.destination.shows(death.world.vm));
      if (!lost) {
        assertThat(death.runs(death.source)).as(told).isNotEqualTo(death.runs(death.destination));
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
