package io.xenferry.simulation;

import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The product, and ways to break it that the simulation must notice. The model has each of them by
 * the same name, those about the notes of the hypervisor and the target service and what clients
 * are told apart, and more: {@code docs/model.md}.
 */
public enum Variant {
  SOUND(null),
  /** The guest runs before STARTING is durable. */
  NO_STARTING_RECORD(Invariant.DURABLE_FIRST),
  /** Commit is sent before COMMITTING is durable. */
  COMMIT_BEFORE_COMMITTING_IS_DURABLE(Invariant.DURABLE_FIRST),
  /** Ended rows are forgotten at once. */
  NO_TOMBSTONE(Invariant.EVERYTHING_ENDS),
  /** A ledger that was lost has the incarnation of before: nobody notices. */
  INCARNATION_UNCHECKED(Invariant.COMPLETE_COPY),
  /** The hypervisor's own migration has not ended when COMMITTING is written. */
  RESUME_RACES_COMMITTING(Invariant.EQUAL_AT_THE_COMMIT),
  /** Exports are closed without a CLOSED record, and the watchdog makes them anew. */
  EXPORT_CLOSED_BEFORE_RECORDED(Invariant.DURABLE_FIRST),
  /** The destination forgets how it came out as soon as nothing is left of it. */
  OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED(Invariant.EVERYTHING_ENDS),
  /** A host takes part in a second move of a VM with a row that has not ended. */
  SECOND_BESIDE_AN_UNENDED_ROW(Invariant.ONE_RUNS),
  /** A copy is taken up without what the hypervisor noted while nobody asked for it. */
  BITMAP_FORGOTTEN_AT_A_RESTART(Invariant.DIRTY_BITS),
  /** What a reboot does to the guest's memory is not sent again. */
  RESET_NOT_NOTED(Invariant.EQUAL_AT_THE_COMMIT),
  /** The target service does not note that an export was closed, and makes it anew. */
  CLOSED_EXPORT_NOT_JOURNALED(Invariant.ONE_WRITES),
  /** Once it is accepted, a ledger that was put back is taken at its word. */
  ACCEPTED_BLINDLY(Invariant.COMPLETE_COPY),
  /** Who cancels a task hears that it ends before its move has said so. */
  CANCEL_ANSWERED_BEFORE_THE_DECISION(Invariant.CANCEL_KEPT),
  /** Tasks of moves that a server before this one began are failed with all others. */
  TASKS_NOT_ADOPTED(Invariant.TASK_TRUTH),
  /** Operations of a server before this one are shown for ever. */
  OPERATIONS_NOT_FORGOTTEN(Invariant.API_ENDS),
  /** A host lets one move more leave than it has places for. */
  ONE_PLACE_TOO_MANY(Invariant.PLACES);

  private final @Nullable Invariant breaks;

  Variant(@Nullable Invariant breaks) {
    this.breaks = breaks;
  }

  /** The promise that is found broken; empty for the sound product. */
  Optional<Invariant> breaks() {
    return Optional.ofNullable(breaks);
  }
}
