package io.xenferry.copy;

import io.xenferry.block.BlockException;
import java.time.Duration;

/** What a job tells its owner; called on the job's scheduler, never twice at once. */
public interface CopyListener {

  /** The phase changed; see {@link CopySnapshot.Phase}. */
  default void onPhase(CopySnapshot.Phase phase) {}

  /**
   * Every disk fits the downtime budget, or has reached the pass limit: pause the guest and drain.
   *
   * @param predictedDowntime for the last dirty sets
   * @param fits whether that is within the budget
   */
  default void onConverged(Duration predictedDowntime, boolean fits) {}

  /**
   * The guest dirties the disk as fast as it is copied: throttle its writes.
   *
   * @param dirtyBytesPerSecond as measured over the last pass
   * @param suggestedBytesPerSecond a limit with which the copy would converge; asked for again,
   *     lower, if it does not
   */
  default void onNotConverging(
      String disk, long dirtyBytesPerSecond, long suggestedBytesPerSecond) {}

  /** A destination is lost; the job waits and reopens it. */
  default void onDestinationLost(String disk, BlockException cause) {}

  /** A lost destination is back, and the copy goes on. */
  default void onDestinationBack(String disk) {}

  /** The write-ordering point of the disk mirrors no longer: the destination is late, or lost. */
  default void onFallback(String disk, String reason) {}

  /** The source's mirror of the disk died or was given up; the copy goes on in passes. */
  default void onMirrorDied(String disk, String reason) {}

  /** The job failed; the guest at the source is not affected. */
  default void onFailed(CopyException cause) {}
}
