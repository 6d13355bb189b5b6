package io.xenferry.copy;

import io.xenferry.block.BlockException;

/**
 * Failed requests of a disk, counted until a pass is clean: how many are borne, and what they mean.
 * Confined to the job's scheduler.
 */
final class Failures {
  /** So many without a clean pass between them end the job. */
  private static final int ALLOWED = 16;

  private int count;
  private int countBefore;

  void passBegins() {
    countBefore = count;
  }

  void passEnds() {
    if (count == countBefore) {
      count = 0;
    }
  }

  int count() {
    return count;
  }

  /** Counts one more; false when that was too many. */
  boolean bear() {
    return ++count <= ALLOWED;
  }

  /** Whether to go on after the destination has refused a request and lives. */
  boolean bearRefusal(BlockException failure) {
    if (failure.kind() == BlockException.Kind.BUSY) {
      return true; // not counted: it says itself that it will pass
    }
    return meaning(failure) == CopyException.Kind.DESTINATION_IO && bear();
  }

  /** The end of a copy whose disk the destination refuses to write. */
  static CopyException ending(String disk, BlockException failure) {
    CopyException.Kind kind = meaning(failure);
    String words =
        switch (kind) {
          case DESTINATION_FULL -> "the destination's SR is full";
          case DESTINATION_REFUSED -> "the destination is read-only";
          case DESTINATION_UNFIT -> "the destination's disk is too small";
          default -> "the destination's disk fails";
        };
    return new CopyException(
        kind, disk + ": " + words + " (" + failure.getMessage() + ")", failure);
  }

  /** What a refusal says of the destination. */
  static CopyException.Kind meaning(BlockException failure) {
    return switch (failure.kind()) {
      case NO_SPACE -> CopyException.Kind.DESTINATION_FULL;
      case READ_ONLY -> CopyException.Kind.DESTINATION_REFUSED;
      case OUT_OF_RANGE -> CopyException.Kind.DESTINATION_UNFIT;
      case IO, BUSY, TIMEOUT, LOST, RESET, CLOSED, PROTOCOL, ACCESS ->
          CopyException.Kind.DESTINATION_IO;
    };
  }
}
