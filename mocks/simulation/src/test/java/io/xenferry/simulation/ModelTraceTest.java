package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.simulation.ModelTraces.Event;
import io.xenferry.simulation.ModelTraces.Trace;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What the product does in the simulation is what the model of it allows. */
@Timeout(600)
class ModelTraceTest {
  private static final int SEEDS = 300;

  /** A move without any fault, as the simulation has them. */
  private static final List<Event> MOVE =
      List.of(
          Event.SENDING,
          Event.RECEIVING,
          Event.SWITCHING,
          Event.CLOSED,
          Event.READY,
          Event.COMMITTING,
          Event.COMMITTED,
          Event.STARTING,
          Event.RUNS,
          Event.RUNNING,
          Event.GIVEN,
          Event.SOURCE_CLEANED,
          Event.DESTINATION_CLEANED,
          Event.DESTINATION_SETTLED,
          Event.SOURCE_SETTLED);

  @TempDir Path directory;

  @BeforeEach
  void toolsAreThere() {
    ModelChecker.require();
  }

  private static List<Trace> traces(int seeds, Variant variant) {
    return LongStream.range(1, 1 + seeds)
        .parallel()
        .mapToObj(seed -> ModelTraces.of(seed, variant))
        .flatMap(List::stream)
        .toList();
  }

  @Test
  void whatTheSimulationDoesTheModelAllows() throws Exception {
    List<Trace> traces = traces(SEEDS, Variant.SOUND);
    Set<Event> seen = EnumSet.noneOf(Event.class);
    traces.forEach(trace -> seen.addAll(trace.events()));
    assertThat(seen)
        .as("nothing of the model's words is idle")
        .isEqualTo(EnumSet.allOf(Event.class));
    assertThat(traces).hasSizeGreaterThan(SEEDS / 2);
    Map<Trace, Integer> refused = new ModelReplay(directory).refused(traces);
    assertThat(refused.entrySet())
        .as("of %d traces; the number is how many of its events are allowed", traces.size())
        .isEmpty();
  }

  private static Trace changed(String how, List<Event> events) {
    return new Trace(how, false, events);
  }

  private static Trace without(Event... left) {
    List<Event> events = new ArrayList<>(MOVE);
    events.removeAll(List.of(left));
    return changed("without " + List.of(left), events);
  }

  private static Trace exchanged(Event one, Event other) {
    List<Event> events = new ArrayList<>(MOVE);
    int first = events.indexOf(one);
    int second = events.indexOf(other);
    events.set(first, other);
    events.set(second, one);
    return changed(other + " before " + one, events);
  }

  private static Trace then(Event last, Event... more) {
    List<Event> events = new ArrayList<>(MOVE.subList(0, MOVE.indexOf(last) + 1));
    events.addAll(List.of(more));
    return changed(last + ", then " + List.of(more), events);
  }

  @Test
  void whatMustNotHappenIsRefused() throws Exception {
    Trace sound = changed("a move", MOVE);
    List<Trace> illegal =
        List.of(
            exchanged(Event.COMMITTING, Event.COMMITTED),
            without(Event.STARTING),
            without(Event.COMMITTING),
            without(Event.CLOSED),
            without(Event.READY),
            without(Event.RUNNING),
            exchanged(Event.STARTING, Event.RUNS),
            exchanged(Event.RUNNING, Event.GIVEN),
            exchanged(Event.RUNNING, Event.SOURCE_CLEANED),
            exchanged(Event.GIVEN, Event.DESTINATION_SETTLED),
            exchanged(Event.DESTINATION_CLEANED, Event.SOURCE_SETTLED),
            then(Event.COMMITTING, Event.OWNED),
            then(Event.COMMITTED, Event.ABORTED),
            then(Event.COMMITTED, Event.RETURNED),
            then(Event.RUNS, Event.GUEST_DIES_AT_DESTINATION, Event.RETURNED),
            then(Event.RUNNING, Event.OWNED),
            then(Event.READY, Event.OWNED, Event.COMMITTED),
            then(Event.READY, Event.ABORTED, Event.COMMITTING, Event.GIVEN),
            then(
                Event.COMMITTED,
                Event.DESTINATION_WITHOUT_POWER,
                Event.DESTINATION_ON_AGAIN,
                Event.STARTING),
            new Trace(
                "a halted VM dies where nobody can have started it",
                true,
                List.of(
                    Event.SENDING,
                    Event.RECEIVING,
                    Event.SWITCHING,
                    Event.CLOSED,
                    Event.READY,
                    Event.COMMITTING,
                    Event.COMMITTED,
                    Event.GUEST_DIES_AT_DESTINATION)));
    List<Trace> all = new ArrayList<>(illegal);
    all.add(sound);
    Map<Trace, Integer> refused = new ModelReplay(directory).refused(all);
    assertThat(refused.keySet()).containsExactlyElementsOf(illegal);
    assertThat(refused.get(exchanged(Event.COMMITTING, Event.COMMITTED)))
        .as("it stops where it is wrong")
        .isEqualTo(MOVE.indexOf(Event.COMMITTING));
  }

  @Test
  void aBrokenProductDoesWhatTheModelRefuses() throws Exception {
    assertThat(new ModelReplay(directory).refused(traces(30, Variant.NO_STARTING_RECORD)))
        .isNotEmpty();
  }
}
