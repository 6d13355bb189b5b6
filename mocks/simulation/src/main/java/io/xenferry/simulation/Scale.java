package io.xenferry.simulation;

import java.time.Duration;

/**
 * How large a world is.
 *
 * @param vms that live at the first host
 * @param disks of each
 * @param blocks of each disk
 * @param tick between two writes of a guest
 */
record Scale(int vms, int disks, int blocks, Duration tick) {
  /** A disk of a few blocks meets itself often. */
  static final Scale SMALL = new Scale(1, 2, 24, Duration.ofMillis(40));

  /** The same with a second VM, which is halted, and is moved as well. */
  static final Scale PAIR = new Scale(2, 2, 24, Duration.ofMillis(40));
}
