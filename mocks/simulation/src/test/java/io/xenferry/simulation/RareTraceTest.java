package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.State;
import io.xenferry.simulation.ModelTraces.Event;
import io.xenferry.simulation.ModelTraces.Trace;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What seeds do seldom, told as stories: the model allows it, too. */
@Timeout(600)
class RareTraceTest extends Story {
  @TempDir Path directory;

  RareTraceTest() {
    super(21);
  }

  @BeforeEach
  void toolsAreThere() {
    ModelChecker.require();
  }

  private void assertAllowed(Trace trace) throws Exception {
    assertThat(new ModelReplay(directory).refused(List.of(trace))).isEmpty();
  }

  /** Its record is shown, and that nothing is left to be done cannot be written for a while. */
  @Test
  void aHaltedVmThatIsStartedAsSoonAsItIsShownMayDieBeforeItsMoveIsOver() throws Exception {
    source.guests.clear();
    world.first.memoryLost = true;
    ModelTraces traces = ModelTraces.watching(world, "a halted VM");
    move();
    runUntil(() -> destination.shows(world.vm));
    destination.ledgerFailsUntil = world.scheduler.nanoTime() + Duration.ofMillis(500).toNanos();
    new Clients(world, 0).start(destination);
    runUntil(() -> guest(destination) == GuestState.RUNNING);
    world.guestDied();
    destination.ends.byItself(GuestState.GONE);
    run(Duration.ofMinutes(1));
    assertArrived();
    Trace trace = traces.traces().getFirst();
    List<Event> events = trace.events();
    assertThat(trace.halted()).isTrue();
    assertThat(events.indexOf(Event.GUEST_DIES_AT_DESTINATION))
        .as("%s", events)
        .isPositive()
        .isLessThan(events.indexOf(Event.DESTINATION_CLEANED));
    assertAllowed(trace);
  }

  /**
   * What it had in its memory is at the destination: that it is looked at once more helps nobody.
   */
  @Test
  void theSourcesProcessMayDieBetweenTheLastLookAtItAndTheRecord() throws Exception {
    ModelTraces traces = ModelTraces.watching(world, "a process that dies");
    move();
    runUntil(() -> !destination.ledgerDisk.rows().isEmpty() && state(destination) == State.READY);
    assertThat(state(source)).isEqualTo(State.SWITCHING);
    world.guestDied();
    source.ends.byItself(GuestState.GONE);
    run(Duration.ofMinutes(1));
    assertMoved();
    Trace trace = traces.traces().getFirst();
    assertThat(trace.events()).contains(Event.GUEST_DIES_AT_SOURCE);
    assertAllowed(trace);
  }
}
