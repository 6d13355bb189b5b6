package io.xenferry.simulation;

import io.xenferry.migration.ports.GuestState;
import org.jspecify.annotations.Nullable;

/** A guest's process: what it is doing, and what its memory holds. */
final class SimGuest {
  GuestState state;
  final SimMemory memory = new SimMemory();
  boolean sending;

  /** The process that its memory goes to; null when there is no stream, or it has broken. */
  @Nullable SimGuest receiver;

  /** A broken hypervisor driver takes it for SENT. */
  boolean claimsSent;

  /** How often it has booted again and lost what it was asked before. */
  int boots;

  /** Until when it boots and writes nothing, on the scheduler's clock. */
  long bootsUntil;

  /** It has never run, and boots from its disks. */
  boolean fresh;

  /** The destination's disks have been opened for it. */
  boolean active;

  SimGuest(GuestState state) {
    this.state = state;
  }
}
