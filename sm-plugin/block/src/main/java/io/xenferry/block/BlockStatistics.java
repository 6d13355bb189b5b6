package io.xenferry.block;

import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * What a backend has done since it was opened.
 *
 * @param operations one entry for each kind of request
 * @param inFlight requests that have not completed
 */
public record BlockStatistics(Map<BlockOp, Operation> operations, long inFlight) {
  public BlockStatistics {
    operations = Map.copyOf(operations);
  }

  public Operation of(BlockOp op) {
    return operations.getOrDefault(op, Operation.NONE);
  }

  /**
   * Counts of one kind of request.
   *
   * @param requests completed, failures included
   * @param failures completed with an error
   * @param bytes of those that succeeded
   * @param total sum of all times from call to completion
   * @param longest the longest of those
   * @param histogram element n counts those of less than 2^n microseconds, and not less than half
   *     of it; the last counts all longer ones
   */
  public record Operation(
      long requests,
      long failures,
      long bytes,
      Duration total,
      Duration longest,
      List<Long> histogram) {
    static final Operation NONE = new Operation(0, 0, 0, Duration.ZERO, Duration.ZERO, List.of());

    public Operation {
      histogram = List.copyOf(histogram);
    }
  }
}
