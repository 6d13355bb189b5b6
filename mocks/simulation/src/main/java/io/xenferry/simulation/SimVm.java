package io.xenferry.simulation;

import java.util.UUID;

/** The truth about one VM and its guest. */
final class SimVm {
  final UUID uuid;

  /** What the guest has written and been told is written, by disk and block. */
  final long[][] truth;

  /** The last record that the guest has written. */
  long sequence;

  /** No process holds the guest's newest memory, through a fault and not through us. */
  boolean memoryLost;

  SimVm(UUID uuid, int disks, int blocks) {
    this.uuid = uuid;
    this.truth = new long[disks][blocks];
  }
}
