package io.xenferry.server.migration;

import io.xenferry.migration.state.Plan;
import java.time.Duration;

/**
 * What a move may take of the link and of the guest's time.
 *
 * @param downtime how long the guest may stand still
 * @param bytesPerSecond of all disks together, and as much again of the memory; 0 for no limit
 */
record MoveLimits(Duration downtime, long bytesPerSecond) {
  static final String DOWNTIME = "max-downtime";
  static final String BANDWIDTH = "bandwidth";

  /**
   * As the plan's options say.
   *
   * @param downtime for a move that says nothing of it
   */
  static MoveLimits of(Plan plan, Duration downtime) {
    String millis = plan.options().get(DOWNTIME);
    return new MoveLimits(
        millis == null ? downtime : Duration.ofMillis(Long.parseLong(millis)),
        Long.parseLong(plan.options().getOrDefault(BANDWIDTH, "0")));
  }

  /**
   * What each of so many disks may take of it.
   *
   * @return bytes a second, 0 for no limit
   */
  long ofEach(int disks) {
    return bytesPerSecond == 0 ? 0 : Math.max(1, bytesPerSecond / Math.max(1, disks));
  }
}
