package io.xenferry.migration.gate;

/** What the gate is asked for: everything that could run a guest or destroy what it runs on. */
public enum Operation {
  START,
  RESUME,
  UNPAUSE,
  RESET,
  DESTROY_DISK,
  /** Another size, or another VM, for a disk; another device for the VM. */
  CHANGE_DEVICE,
  /** Stopping the guest by a client's wish, or sending its memory, to go on with it later. */
  PAUSE,
  /** Ending the guest's process by a client's wish; harmless to ownership, not to a switch. */
  SHUTDOWN,
  /** Destroying the VM's record. */
  DESTROY_VM
}
