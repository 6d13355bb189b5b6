package io.xenferry.migration.ports;

/** What a guest was seen to be doing. */
public enum GuestState {
  RUNNING,
  /** Paused, the hypervisor sends and receives nothing. */
  PAUSED,
  /** Waits for, or is receiving, the memory stream. */
  INCOMING,
  /** The stream is complete; paused. */
  RECEIVED,
  /** Paused by the hypervisor for the switch, the rest of the memory not yet sent. */
  PRE_SWITCHOVER,
  /** The hypervisor's own migration has ended; paused for good unless resumed. */
  SENT,
  /** Shut down by itself; the process may still exist. */
  SHUTDOWN,
  /** There is no process. */
  GONE;

  /** Whether it runs no more, and will not by itself. */
  public boolean ended() {
    return this == SHUTDOWN || this == GONE;
  }

  /** Whether nothing but a resume by this server could make it run. */
  public boolean safelyPaused() {
    return this == PAUSED || this == SENT || this == RECEIVED;
  }
}
