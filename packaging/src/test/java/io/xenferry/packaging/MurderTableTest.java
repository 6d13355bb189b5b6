package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.State;
import java.io.IOException;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The table in the manual is the one that the runs have made, and it has every state. */
class MurderTableTest {

  /** {@code -Dmurder.record=true} puts it there. */
  @Test
  void theManualHasTheTableThatTheRunsHaveMade() throws IOException {
    if (Boolean.getBoolean("murder.record")) {
      MurderTable.write();
    }
    assertThat(MurderTable.inManual()).isEqualTo(MurderTable.rendered());
  }

  /** RETURNED takes a hypervisor that refuses, which no kill brings about. */
  @Test
  void everyStateHasBeenMetByAKill() throws IOException {
    Set<String> states =
        Arrays.stream(State.values())
            .filter(state -> state != State.RETURNED)
            .map(State::name)
            .collect(Collectors.toCollection(TreeSet::new));
    Set<Crash> kills =
        Arrays.stream(Point.Victims.values()).map(Murders::crash).collect(Collectors.toSet());
    Set<String> met = new TreeSet<>();
    for (MurderTable.Line line : MurderTable.recorded()) {
      if (kills.contains(line.crash())) {
        met.add(line.source());
        met.add(line.destination());
      }
    }
    met.remove("–");
    assertThat(met).as("states in which a server was killed").isEqualTo(states);
  }
}
