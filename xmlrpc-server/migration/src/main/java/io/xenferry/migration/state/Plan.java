package io.xenferry.migration.state;

import io.xenferry.copy.CopyOptions.Verify;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * What is to be moved, and how: made by the source, checked by both, written in both ledgers.
 *
 * @param vm the VM's uuid at the source
 * @param vmAtDestination its uuid at the destination: the same, or a new one for a copy
 * @param name for people
 * @param power what the VM does when the migration begins
 * @param memoryBytes bytes of guest memory, which are sent unless it moves warm; 0 unless it runs
 * @param disks at most {@link #MAX_DISKS}
 * @param copy the source keeps its VM as it is; the destination gets another one
 * @param keepSource after the move the source keeps the disks in a VM that is locked
 * @param options what the client passed on, for the ports
 */
public record Plan(
    UUID vm,
    UUID vmAtDestination,
    String name,
    Power power,
    long memoryBytes,
    List<Disk> disks,
    boolean copy,
    boolean keepSource,
    Map<String, String> options) {

  /** More than any VM has; a bound for what a peer may ask. */
  public static final int MAX_DISKS = 255;

  /** The device of the disk that holds a suspended VM's memory. */
  public static final String SUSPEND = "suspend";

  public Plan {
    disks = List.copyOf(disks);
    options = Map.copyOf(options);
    if (disks.size() > MAX_DISKS) {
      throw new IllegalArgumentException("more than " + MAX_DISKS + " disks");
    }
    if (memoryBytes < 0 || (power != Power.RUNNING && memoryBytes != 0)) {
      throw new IllegalArgumentException(
          "memory " + memoryBytes + " bytes of a VM that is " + power);
    }
    if (copy != !vm.equals(vmAtDestination)) {
      throw new IllegalArgumentException("a copy, and only a copy, gets another uuid");
    }
    if (copy && power == Power.RUNNING) {
      throw new IllegalArgumentException("a running VM cannot be copied");
    }
  }

  /** The disk that holds the memory of a suspended VM. */
  public Optional<Disk> suspendImage() {
    return power == Power.SUSPENDED
        ? disks.stream().filter(disk -> disk.device().equals(SUSPEND)).findFirst()
        : Optional.empty();
  }

  /** The same with other disks and options. */
  public Plan with(List<Disk> otherDisks, Map<String, String> otherOptions) {
    return new Plan(
        vm, vmAtDestination, name, power, memoryBytes, otherDisks, copy, keepSource, otherOptions);
  }

  public boolean running() {
    return power == Power.RUNNING;
  }

  /** Whether the guest goes on where it was, with its memory. */
  public boolean live() {
    return running() && !warm();
  }

  /** Whether the guest is shut down here, and boots at the destination; see {@link WarmMove}. */
  public boolean warm() {
    return running() && WarmMove.WARM.equals(options.get(WarmMove.MODE));
  }

  /** The same without what the client passed on. */
  public Plan withoutOptions() {
    return new Plan(
        vm, vmAtDestination, name, power, memoryBytes, disks, copy, keepSource, Map.of());
  }

  /** Whether all blocks are compared at both ends while the guest stands still. */
  public boolean provedInPause() {
    return Verify.of(options.get(Verify.OPTION)) == Verify.PAUSED;
  }

  /** The power states that may move. */
  public enum Power {
    RUNNING,
    HALTED,
    SUSPENDED
  }

  /**
   * One disk.
   *
   * @param vdi its uuid at the source
   * @param device the VBD's device; the suspend image has {@code suspend}
   * @param size bytes, virtual
   * @param sr uuid of the SR at the destination
   * @param strategy {@code log-dirty}, {@code mirror}, {@code auto}, {@code snapshot}
   * @param readOnly whether the guest only reads it
   */
  public record Disk(
      UUID vdi, String device, long size, String sr, String strategy, boolean readOnly) {
    public Disk {
      if (size < 0) {
        throw new IllegalArgumentException("disk of " + size + " bytes");
      }
    }

    Disk withStrategy(String other) {
      return new Disk(vdi, device, size, sr, other, readOnly);
    }
  }
}
