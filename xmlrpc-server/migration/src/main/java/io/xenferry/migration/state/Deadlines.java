package io.xenferry.migration.state;

import java.time.Duration;

/**
 * Every deadline and interval of a migration, with its reason.
 *
 * @param message how long one message to the peer may take; an answer needs a disk flush or two
 * @param open how long the destination may take to create and export everything
 * @param memory how long the guest's memory may take to be nearly sent; beyond it, it does not
 *     converge
 * @param pause how long the hypervisor may take to pause the guest once asked to
 * @param switchOver from the guest's pause until READY; when it passes, the source resumes: guests
 *     and their peers bear half a minute
 * @param proof how much longer that may take where all blocks are to be compared in the pause: 4
 *     TiB at 100 MB/s; whoever waits may cancel
 * @param step how long one effect on this host (create, export, close, activate) may take
 * @param heartbeat interval from source to destination
 * @param lost after so long without an answered heartbeat the source pauses the copy
 * @param resumeWindow after so long without the peer the migration fails before READY, on both
 *     sides
 * @param retryFirst first wait of a back-off
 * @param retryMost longest wait of a back-off; short, since the guest is paused while S asks
 * @param tokenLife how long a token is good for opening, and a tombstone is kept: a day, since
 *     moves queue for their turn
 * @param progress interval at which statistics are read and listeners told
 */
public record Deadlines(
    Duration message,
    Duration open,
    Duration memory,
    Duration pause,
    Duration switchOver,
    Duration proof,
    Duration step,
    Duration heartbeat,
    Duration lost,
    Duration resumeWindow,
    Duration retryFirst,
    Duration retryMost,
    Duration tokenLife,
    Duration progress) {

  /** The same with another one of them. */
  public Deadlines withResumeWindow(Duration window) {
    return new Deadlines(
        message,
        open,
        memory,
        pause,
        switchOver,
        proof,
        step,
        heartbeat,
        lost,
        window,
        retryFirst,
        retryMost,
        tokenLife,
        progress);
  }

  public static final Deadlines DEFAULT =
      new Deadlines(
          Duration.ofSeconds(10),
          Duration.ofMinutes(2),
          Duration.ofHours(2),
          Duration.ofSeconds(60),
          Duration.ofSeconds(30),
          Duration.ofHours(12),
          Duration.ofSeconds(60),
          Duration.ofSeconds(2),
          Duration.ofSeconds(6),
          Duration.ofMinutes(5),
          Duration.ofMillis(100),
          Duration.ofSeconds(5),
          Duration.ofHours(24),
          Duration.ofMillis(500));
}
