package io.xenferry.simulation;

/**
 * What must hold whatever happens. All are read from the simulated guests, disks, exports and
 * ledgers' stable storage, never from what the product believes.
 */
enum Invariant {
  // After every step.
  ONE_RUNS("at most one side runs the guest"),
  ONE_WRITES("at most one side may write a disk"),
  COMPLETE_COPY("at least one complete runnable copy exists"),
  /** So bits are set before a write is acknowledged, and cleared before the block is read. */
  DIRTY_BITS("what no dirty bit names is the same on both disks"),

  // When something happens.
  NEVER_BACK("the guest never goes back in time"),
  COMPLETE_WHERE_IT_RUNS("the disks are complete where the guest runs"),
  EQUAL_AT_THE_COMMIT("at the commit the destination equals the source"),
  DURABLE_FIRST("a decision is durable before its effect"),
  OWN_OBJECTS("a clean-up touches only its own migration's objects"),
  RUNNING_STAYS("a running guest is not destroyed by a clean-up"),
  MEMORY("the guest's memory exists while it must"),
  PROGRESS("progress never falls"),
  STAYS_COMMITTING("unknown never lets the source leave COMMITTING"),
  DOUBT_DECIDES_NOTHING("a row in doubt decides nothing while the source is in doubt, too"),
  ENDS_WITH_ITS_GUEST("a move ends when its guest does"),
  TASK_TRUTH("a task tells the truth"),
  TASK_PROGRESS("a task's progress never falls"),
  PLACES("no more moves leave a host than it has places for"),
  CANCEL_KEPT("what who cancels was answered comes true"),

  // In the end.
  EVERYTHING_ENDS("when faults stop, everything ends"),
  API_ENDS("no task is pending, no operation shown, and nobody waits for a place"),
  /** The one that asks the coordinator: it is clients who wait, and only for what it says. */
  OUTCOME_TOLD("whoever waits for a move hears how it came out"),
  NOTHING_LEFT("no temporary object, export, account or file is left"),
  ONE_HOME("the VM is at one side, with its disks"),
  NO_WRITE_LOST("no acknowledged write is lost"),
  RUNS_IN_THE_END("a guest that no fault has ended runs");

  private final String words;

  Invariant(String words) {
    this.words = words;
  }

  /** As a violation is told. */
  String words() {
    return words;
  }
}
