package io.xenferry.server.config;

import java.time.Duration;

/**
 * What VMs run on and how they move.
 *
 * @param hypervisor name of a hypervisor that is on the class path
 * @param targets which iSCSI target service exports the disks of VMs that arrive
 * @param downtime how long a guest may stand still for a move: TCP connections and users bear it
 * @param copyMemory bytes for the buffers of all copies together: eight disks at full depth
 */
public record ToolstackConfig(
    String hypervisor, Targets targets, Duration downtime, long copyMemory) {

  /** Implementations of the target service. */
  public enum Targets {
    /** tgtd where it is installed, else the embedded one. */
    AUTO,
    TGTD,
    EMBEDDED
  }

  public static ToolstackConfig defaults() {
    return new ToolstackConfig("simulated", Targets.AUTO, Duration.ofMillis(300), 64L << 20);
  }

  public ToolstackConfig withHypervisor(String name) {
    return new ToolstackConfig(name, targets, downtime, copyMemory);
  }

  public ToolstackConfig withTargets(Targets chosen) {
    return new ToolstackConfig(hypervisor, chosen, downtime, copyMemory);
  }
}
