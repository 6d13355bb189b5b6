package io.xenferry.qemu;

import io.xenferry.qemu.access.GuestUser;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The command line of a guest's process: the only place where hypervisors that speak QMP differ.
 */
public interface GuestLauncher {

  /** How a guest begins. */
  enum Mode {
    RUNNING,
    /** Before its first instruction. */
    PAUSED,
    /** Waits for {@code migrate-incoming}, and is paused when the stream is complete. */
    INCOMING
  }

  /** The hypervisor's name, see {@link io.xenferry.spi.Hypervisor#name}. */
  String name();

  /**
   * The program and its arguments. It must serve QMP at {@link GuestDirectory#qmpSocket} and write
   * its process id to {@link GuestDirectory#pidFile}; the first's path must stand among the
   * arguments, since that is how the process is known again. The spec stands at {@link
   * GuestDirectory#specFile} before it starts.
   *
   * @throws HypervisorException REFUSED when the spec asks for what this hypervisor cannot give
   */
  List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
      throws HypervisorException, InterruptedException;

  /** See {@link io.xenferry.spi.Hypervisor#opens}. */
  default boolean opens(String format) {
    return true;
  }

  /** See {@link io.xenferry.spi.Hypervisor#refusal}. */
  default Optional<String> refusal(GuestSpec.Machine machine)
      throws HypervisorException, InterruptedException {
    return Optional.empty();
  }

  /** See {@link io.xenferry.spi.Hypervisor#newMachine}. */
  default Map<String, String> newMachine() throws HypervisorException, InterruptedException {
    return Map.of();
  }

  /**
   * Begins what must be there before the process. The guest's directory and spec are.
   *
   * @param user as whom the guest runs; empty for the server's own
   * @throws HypervisorException when the guest cannot have it; nothing is left then
   */
  default void prepare(GuestSpec spec, GuestDirectory directory, Optional<GuestUser> user)
      throws HypervisorException, InterruptedException {}

  /**
   * Whether a process that ended instead of starting did so because of what the VM's record says.
   *
   * @param words its last ones
   */
  default Optional<HypervisorException> invalid(GuestSpec spec, String words) {
    return Optional.empty();
  }

  /** Groups that the process needs for devices of this host, beside its user's own. */
  default List<Integer> groups() throws HypervisorException {
    return List.of();
  }

  /** Completes what the process cannot do for itself, once it answers. */
  default void started(GuestSpec spec, GuestDirectory directory)
      throws HypervisorException, InterruptedException {}

  /** The block node of a disk, by which every QMP command names it. QEMU allows 31 characters. */
  static String nodeName(String device) {
    return "disk-" + device;
  }

  /** A network card, by the VIF's device number. */
  static String nicName(String device) {
    return "vif" + device;
  }

  /** What stands behind a network card. */
  static String netdevName(String device) {
    return "net" + device;
  }
}
