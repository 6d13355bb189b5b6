package io.xenferry.simulation;

/**
 * The product, and ways to break it that the simulation must notice. The model has each of them by
 * the same name, those about the hypervisor's bitmaps apart, and more: {@code docs/model.md}.
 */
public enum Variant {
  SOUND,
  /** The guest runs before STARTING is durable. */
  NO_STARTING_RECORD,
  /** Commit is sent before COMMITTING is durable. */
  COMMIT_BEFORE_COMMITTING_IS_DURABLE,
  /** Ended rows are forgotten at once. */
  NO_TOMBSTONE,
  /** A ledger that was lost has the incarnation of before: nobody notices. */
  INCARNATION_UNCHECKED,
  /** The hypervisor's own migration has not ended when COMMITTING is written. */
  RESUME_RACES_COMMITTING,
  /** Exports are closed without a CLOSED record, and the watchdog makes them anew. */
  EXPORT_CLOSED_BEFORE_RECORDED,
  /** The destination forgets how it came out as soon as nothing is left of it. */
  OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED,
  /** A copy is taken up without what the hypervisor noted while nobody asked for it. */
  BITMAP_FORGOTTEN_AT_A_RESTART,
  /** Once it is accepted, a ledger that was put back is taken at its word. */
  ACCEPTED_BLINDLY
}
