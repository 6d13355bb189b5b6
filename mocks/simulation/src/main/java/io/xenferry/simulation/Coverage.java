package io.xenferry.simulation;

import io.xenferry.migration.state.State;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Which faults have met which states: the table of a run. A fault counts for the state that either
 * host's row of the migration has at that moment.
 */
final class Coverage {
  /** So many seeds and more must leave no cell empty; {@link Aim} takes all cells in turn. */
  static final int JUDGED_FROM = 10_000;

  private static final State[] STATES = State.values();
  private static final Fault[] FAULTS = Fault.values();

  /** Why some cells stay empty. */
  private enum Reason {
    EXPORTS_CLOSED(
        "the exports are closed before READY, and no others are opened: nothing of the move is"
            + " written any more"),
    STANDS_STILL("the guest stands still on both hosts: nothing in it can happen");

    private final String sentence;

    Reason(String sentence) {
      this.sentence = sentence;
    }

    char letter() {
      return (char) ('a' + ordinal());
    }
  }

  private static final Set<State> AFTER_THE_COPY =
      EnumSet.of(
          State.COMMITTING,
          State.GIVEN,
          State.READY,
          State.COMMITTED,
          State.STARTING,
          State.RUNNING,
          State.RETURNED);

  private static final Set<Fault> OF_THE_COPY =
      EnumSet.of(
          Fault.DISK_ERROR,
          Fault.SHORT_WRITE,
          Fault.SR_FULL,
          Fault.TARGET_GONE,
          Fault.BLOCK_ANSWER_LOST,
          Fault.MIRROR_DIES);

  private static final Set<Fault> OF_A_RUNNING_GUEST =
      EnumSet.of(Fault.GUEST_REBOOTS, Fault.GUEST_HALTS);

  /** All that may be met, in a fixed order. */
  static final List<Aim.Cell> CELLS = cells();

  private final int[][] hits = new int[STATES.length][FAULTS.length];

  void hit(State state, Fault fault) {
    hits[state.ordinal()][fault.ordinal()]++;
  }

  int hits(State state, Fault fault) {
    return hits[state.ordinal()][fault.ordinal()];
  }

  void add(Coverage other) {
    for (State state : STATES) {
      for (Fault fault : FAULTS) {
        hits[state.ordinal()][fault.ordinal()] += other.hits(state, fault);
      }
    }
  }

  private static List<Aim.Cell> cells() {
    List<Aim.Cell> cells = new ArrayList<>();
    for (State state : STATES) {
      for (Fault fault : FAULTS) {
        if (impossible(state, fault).isEmpty()) {
          cells.add(new Aim.Cell(state, fault));
        }
      }
    }
    return List.copyOf(cells);
  }

  /** Whether a fault can come about only while the disks are copied. */
  static boolean ofTheCopy(Fault fault) {
    return OF_THE_COPY.contains(fault);
  }

  /** Why a fault cannot meet a state. */
  static Optional<String> whyImpossible(State state, Fault fault) {
    return impossible(state, fault).map(reason -> reason.sentence);
  }

  private static Optional<Reason> impossible(State state, Fault fault) {
    if (OF_THE_COPY.contains(fault) && AFTER_THE_COPY.contains(state)) {
      return Optional.of(Reason.EXPORTS_CLOSED);
    }
    if (OF_A_RUNNING_GUEST.contains(fault)
        && (state == State.SWITCHING || state == State.COMMITTED)) {
      return Optional.of(Reason.STANDS_STILL);
    }
    return Optional.empty();
  }

  /** What is wrong with the table: cells that are empty and need not be, and the opposite. */
  List<String> wrong() {
    List<String> wrong = new ArrayList<>();
    for (State state : STATES) {
      for (Fault fault : FAULTS) {
        boolean met = hits(state, fault) > 0;
        Optional<Reason> impossible = impossible(state, fault);
        if (!met && impossible.isEmpty()) {
          wrong.add("never met: " + fault.words() + " in " + state);
        } else if (met && impossible.isPresent()) {
          wrong.add(
              "met, though said to be impossible: "
                  + fault.words()
                  + " in "
                  + state
                  + ", "
                  + impossible.get().sentence);
        }
      }
    }
    return wrong;
  }

  /** Lines for people. */
  List<String> table() {
    List<String> lines = new ArrayList<>();
    StringBuilder head = new StringBuilder(String.format("%-20s", "fault, and state"));
    for (State state : STATES) {
      head.append(String.format(" %10s", state));
    }
    lines.add(head.toString());
    for (Fault fault : FAULTS) {
      StringBuilder line = new StringBuilder(String.format("%-20s", fault.words()));
      for (State state : STATES) {
        int count = hits(state, fault);
        line.append(
            String.format(
                " %10s",
                impossible(state, fault)
                    .filter(reason -> count == 0)
                    .map(reason -> "(" + reason.letter() + ")")
                    .orElseGet(() -> Integer.toString(count))));
      }
      lines.add(line.toString());
    }
    for (Reason reason : Reason.values()) {
      lines.add("(" + reason.letter() + ") impossible: " + reason.sentence);
    }
    return lines;
  }
}
