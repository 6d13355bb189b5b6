package io.xenferry.server.config;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * What VMs run on and how they move.
 *
 * @param hypervisor name of a hypervisor that is on the class path
 * @param targets which iSCSI target service exports the disks of VMs that arrive
 * @param iscsi how this host reaches disks of others
 * @param nbdsPort where disks that arrive over NBD with TLS are offered; 0 leaves it to the system
 * @param downtime how long a guest may stand still for a move: TCP connections and users bear it
 * @param resumeWindow how long the other server may be away before a move that is not decided yet
 *     is given up: enough for an update or a reboot
 * @param bootDirectories where the kernels of VMs may lie, beside {@code boot} in the state
 *     directory
 * @param guestUser as whom guests' processes run: {@code server}, {@code auto}, {@code FIRST-LAST}
 *     or an account
 * @param copyMemory bytes for the buffers of all copies together, which share them evenly: two
 *     disks at full depth, eight as a fast network nearby needs
 */
public record ToolstackConfig(
    String hypervisor,
    Targets targets,
    IscsiConfig iscsi,
    int nbdsPort,
    Duration downtime,
    Duration resumeWindow,
    List<Path> bootDirectories,
    String guestUser,
    long copyMemory) {

  /** Implementations of the target service. */
  public enum Targets {
    /** tgtd where it is installed, else the embedded one. */
    AUTO,
    TGTD,
    EMBEDDED
  }

  public static ToolstackConfig defaults() {
    return new ToolstackConfig(
        "simulated",
        Targets.AUTO,
        IscsiConfig.defaults(),
        0,
        Duration.ofMillis(300),
        Duration.ofMinutes(5),
        List.of(Path.of("/boot")),
        "server",
        64L << 20);
  }

  public ToolstackConfig withHypervisor(String name) {
    return new ToolstackConfig(
        name,
        targets,
        iscsi,
        nbdsPort,
        downtime,
        resumeWindow,
        bootDirectories,
        guestUser,
        copyMemory);
  }

  public ToolstackConfig withBootDirectories(List<Path> directories) {
    return new ToolstackConfig(
        hypervisor,
        targets,
        iscsi,
        nbdsPort,
        downtime,
        resumeWindow,
        List.copyOf(directories),
        guestUser,
        copyMemory);
  }

  public ToolstackConfig withTargets(Targets chosen) {
    return new ToolstackConfig(
        hypervisor,
        chosen,
        iscsi,
        nbdsPort,
        downtime,
        resumeWindow,
        bootDirectories,
        guestUser,
        copyMemory);
  }

  public ToolstackConfig withIscsi(IscsiConfig other) {
    return new ToolstackConfig(
        hypervisor,
        targets,
        other,
        nbdsPort,
        downtime,
        resumeWindow,
        bootDirectories,
        guestUser,
        copyMemory);
  }

  public ToolstackConfig withNbdsPort(int port) {
    return new ToolstackConfig(
        hypervisor,
        targets,
        iscsi,
        port,
        downtime,
        resumeWindow,
        bootDirectories,
        guestUser,
        copyMemory);
  }

  public ToolstackConfig withResumeWindow(Duration window) {
    return new ToolstackConfig(
        hypervisor,
        targets,
        iscsi,
        nbdsPort,
        downtime,
        window,
        bootDirectories,
        guestUser,
        copyMemory);
  }

  public ToolstackConfig withGuestUser(String user) {
    return new ToolstackConfig(
        hypervisor,
        targets,
        iscsi,
        nbdsPort,
        downtime,
        resumeWindow,
        bootDirectories,
        user,
        copyMemory);
  }
}
