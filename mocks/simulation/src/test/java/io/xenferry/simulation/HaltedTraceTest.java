package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.simulation.ModelTraces.Event;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A halted VM that a client starts as soon as it is shown, and what the model says to it. */
@Timeout(600)
class HaltedTraceTest extends Story {
  @TempDir Path directory;

  HaltedTraceTest() {
    super(21);
  }

  @BeforeEach
  void toolsAreThere() {
    ModelChecker.require();
  }

  /** Its record is shown, and that nothing is left to be done cannot be written for a while. */
  @Test
  void itsGuestMayDieBeforeTheMoveIsOver() throws Exception {
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
    ModelTraces.Trace trace = traces.traces().getFirst();
    List<Event> events = trace.events();
    assertThat(trace.halted()).isTrue();
    assertThat(events.indexOf(Event.GUEST_DIES_AT_DESTINATION))
        .as("%s", events)
        .isPositive()
        .isLessThan(events.indexOf(Event.DESTINATION_CLEANED));
    assertThat(new ModelReplay(directory).refused(List.of(trace))).isEmpty();
  }
}
