package io.xenferry.migration.state;

import java.util.EnumSet;
import java.util.Map;
import java.util.Set;

/**
 * The states of a migration's row and the one table of its transitions.
 *
 * <pre>
 * S:  (OWNED) → SENDING → SWITCHING → COMMITTING → GIVEN → ended
 *                 └──────────┴─ OWNED alone ┘ OWNED when D says ABORTED or RETURNED, or by force
 * D:  RECEIVING → READY → COMMITTED → STARTING → RUNNING → ended
 *         └────────┴→ ABORTED   └──────────┴→ RETURNED, only if the guest provably never ran
 * </pre>
 */
public enum State {
  /** S: the VM is this host's; before a migration there is no row at all. */
  OWNED(Role.SOURCE, "the VM stays here; taking back what was begun"),
  /** S: disks and memory are on their way, the guest runs. */
  SENDING(Role.SOURCE, "opening at the destination"),
  /** S: the guest is paused for the switch; S may still resume it alone. */
  SWITCHING(Role.SOURCE, "draining the last dirty blocks"),
  /** S: the destination's record decides; the guest stays paused. */
  COMMITTING(Role.SOURCE, "committing: the destination decides"),
  /** S: the VM is the destination's; cleaning up. */
  GIVEN(Role.SOURCE, "removing what is left here"),
  /** D: objects exist, blocks and memory arrive. */
  RECEIVING(Role.DESTINATION, "making what the VM needs"),
  /** D: everything that can fail is done; waits for the source's decision. */
  READY(Role.DESTINATION, "ready, waiting for the source's decision"),
  /** D: the VM is this host's unless it can still prove that it never ran. */
  COMMITTED(Role.DESTINATION, "committed, looking once more"),
  /** D: written just before the guest may run. */
  STARTING(Role.DESTINATION, "running the VM"),
  /** D: the VM is this host's, running or halted. */
  RUNNING(Role.DESTINATION, "showing the VM"),
  /** D: nothing has been or will be run here; cleaning up. */
  ABORTED(Role.DESTINATION, "given up; removing what was made here"),
  /** D: committed, but the guest provably never ran; the source resumes it. */
  RETURNED(Role.DESTINATION, "given back; removing what was made here");

  private static final Map<State, Set<State>> NEXT =
      Map.ofEntries(
          Map.entry(OWNED, EnumSet.noneOf(State.class)),
          Map.entry(SENDING, EnumSet.of(SWITCHING, OWNED)),
          Map.entry(SWITCHING, EnumSet.of(COMMITTING, OWNED)),
          Map.entry(COMMITTING, EnumSet.of(GIVEN, OWNED)),
          Map.entry(GIVEN, EnumSet.noneOf(State.class)),
          Map.entry(RECEIVING, EnumSet.of(READY, ABORTED)),
          Map.entry(READY, EnumSet.of(COMMITTED, ABORTED)),
          Map.entry(COMMITTED, EnumSet.of(STARTING, RETURNED)),
          Map.entry(STARTING, EnumSet.of(RUNNING, RETURNED)),
          Map.entry(RUNNING, EnumSet.noneOf(State.class)),
          Map.entry(ABORTED, EnumSet.noneOf(State.class)),
          Map.entry(RETURNED, EnumSet.noneOf(State.class)));

  private final Role role;

  private final String phase;

  State(Role role, String phase) {
    this.role = role;
    this.phase = phase;
  }

  /** What a status says of a migration that has just come to this state; of no other one. */
  public String phase() {
    return phase;
  }

  public Role role() {
    return role;
  }

  /** What may follow; empty for an outcome. */
  public Set<State> next() {
    return Set.copyOf(NEXT.getOrDefault(this, Set.of()));
  }

  public boolean mayBecome(State next) {
    return NEXT.getOrDefault(this, Set.of()).contains(next);
  }

  /** Whether this is how a migration came out; the row may then end. */
  public boolean outcome() {
    return NEXT.getOrDefault(this, Set.of()).isEmpty();
  }
}
