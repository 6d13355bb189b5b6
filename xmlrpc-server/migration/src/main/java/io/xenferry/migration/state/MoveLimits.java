package io.xenferry.migration.state;

import java.time.Duration;

/**
 * What a move may take of the link and of the guest's time.
 *
 * @param downtime how long the guest may stand still
 * @param bytesPerSecond of all disks together, and as much again of the memory; 0 for no limit
 * @param bytesPerSecondOfEach of each disk by itself; 0 for no limit
 */
public record MoveLimits(Duration downtime, long bytesPerSecond, long bytesPerSecondOfEach) {
  /** The option of a plan; milliseconds. */
  public static final String DOWNTIME = "max-downtime";

  /** The option of a plan; bytes a second. */
  public static final String BANDWIDTH = "bandwidth";

  /** The option of a plan for each of its disks; bytes a second. */
  public static final String DISK_BANDWIDTH = "disk-bandwidth";

  /**
   * As the plan's options say.
   *
   * @param downtime for a move that says nothing of it
   */
  public static MoveLimits of(Plan plan, Duration downtime) {
    String millis = plan.options().get(DOWNTIME);
    return new MoveLimits(
        millis == null ? downtime : Duration.ofMillis(Long.parseLong(millis)),
        Long.parseLong(plan.options().getOrDefault(BANDWIDTH, "0")),
        Long.parseLong(plan.options().getOrDefault(DISK_BANDWIDTH, "0")));
  }
}
