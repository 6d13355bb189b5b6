package io.xenferry.spi;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * What a hypervisor needs to build a guest.
 *
 * @param vm the VM's uuid, by which the guest is found again
 * @param name for people: process titles, logs
 * @param memoryBytes guest memory
 * @param vcpus 1 or more
 * @param disks in the order of their device numbers
 * @param platform the VM's platform map, for what has no field of its own
 */
public record GuestSpec(
    UUID vm,
    String name,
    long memoryBytes,
    int vcpus,
    List<Disk> disks,
    List<Nic> nics,
    Map<String, String> platform) {

  /**
   * @param device the VBD's device, {@code xvda}; unique in the guest
   * @param vdi uuid of the VDI behind it
   * @param file image file
   * @param format {@code raw}
   */
  public record Disk(String device, UUID vdi, Path file, String format, boolean readOnly) {}

  /**
   * @param device the VIF's device number
   * @param bridge name of the network's bridge on this host
   */
  public record Nic(String device, String mac, String bridge) {}
}
