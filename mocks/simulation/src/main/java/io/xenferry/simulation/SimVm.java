package io.xenferry.simulation;

import java.util.UUID;

/** The truth about one VM and its guest. */
final class SimVm {
  final UUID uuid;

  /** What the guest has written and been told is written, by disk and block. */
  final long[][] truth;

  /** The last record that the guest has written. */
  long sequence;

  /** What the guest has in its memory. */
  final SimMemory memory = new SimMemory();

  /** No process holds the guest's newest memory, through a fault and not through us. */
  boolean memoryLost;

  SimVm(UUID uuid, int disks, int blocks) {
    this.uuid = uuid;
    this.truth = new long[disks][blocks];
  }

  /** Its guest, which runs, writes one more record to a disk. */
  void write(SimGuest guest, int disk, int block) {
    sequence++;
    truth[disk][block] = sequence;
    memory.write(sequence);
    guest.memory.write(sequence);
  }

  /**
   * Its guest begins anew.
   *
   * @param noted whether the hypervisor sees what that does to the memory
   */
  void boot(SimGuest guest, boolean noted) {
    sequence++;
    memory.boot(sequence, true);
    guest.memory.boot(sequence, noted);
  }
}
