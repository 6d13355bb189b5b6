package io.xenferry.server.migration;

import io.xenferry.copy.DestinationOpener;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;

/** Reaches the destination's disks by one transport. */
@FunctionalInterface
interface DiskCarrier {

  /**
   * How to open a disk; does not open it yet.
   *
   * @throws IllegalArgumentException if the target's URL is none that this transport knows
   */
  DestinationOpener to(DiskTarget target, MigrationId migration);
}
