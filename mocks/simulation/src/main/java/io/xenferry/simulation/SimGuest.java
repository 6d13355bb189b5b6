package io.xenferry.simulation;

import io.xenferry.migration.ports.GuestState;

/** A guest's process: what it is doing, and the last record its memory knows of. */
final class SimGuest {
  GuestState state;
  long memory;
  boolean sending;

  /** A broken hypervisor driver takes it for SENT. */
  boolean claimsSent;

  /** The destination's disks have been opened for it. */
  boolean active;

  SimGuest(GuestState state, long memory) {
    this.state = state;
    this.memory = memory;
  }
}
