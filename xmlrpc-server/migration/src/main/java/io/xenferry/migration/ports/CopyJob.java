package io.xenferry.migration.ports;

import io.xenferry.migration.state.DiskProgress;
import io.xenferry.migration.state.Plan;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * The copy of all disks of one migration. The same rules for threads and deadlines as {@link
 * SourcePorts}.
 */
public interface CopyJob {

  /**
   * Completes when what is left of every disk fits the downtime; the copy goes on meanwhile. Fails
   * when the job has failed for good.
   */
  CompletableFuture<Void> converged();

  /**
   * Completes when no more than so many bytes are left of all disks together, as a rule once: more
   * may become dirty afterwards. At the latest when converged; fails with that.
   */
  CompletableFuture<Void> nearly(long bytes);

  /**
   * The guest is about to be paused: brings up mirrors where the plan wants them, and completes
   * when next to nothing is left and every destination is there. Fails when the job has failed for
   * good.
   */
  CompletableFuture<Void> prepareSwitch();

  /**
   * The guest is paused: sends what is left, flushes through to the destination's disk, and
   * completes when every disk's books agree (nothing dirty, nothing in flight).
   */
  CompletableFuture<List<UUID>> drain();

  /** Fails when the job has failed for good, with why; completes when it was closed well. */
  CompletableFuture<Void> ended();

  /** The destination does not answer, or an operator wants it: stop sending, keep noting. */
  void pause();

  /** Nothing of that is so any more. */
  void resume();

  /**
   * Whether the switch is not wanted yet: what becomes dirty goes on being sent, and the guest is
   * not slowed for it.
   */
  void holdSwitch(boolean held);

  /**
   * What the move may take has changed, or how its disks are copied.
   *
   * @param plan whose options say how fast, and what the downtime is
   */
  void adjust(Plan plan);

  /** Stops at once and ends all sessions: afterwards no write of this job can still take effect. */
  CompletableFuture<Void> close();

  /** What is known now; cheap. */
  List<DiskProgress> progress();
}
