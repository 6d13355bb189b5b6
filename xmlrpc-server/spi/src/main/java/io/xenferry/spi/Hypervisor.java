package io.xenferry.spi;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Predicate;

/**
 * Runs guests as processes apart from the server: they outlive it, and a new server finds them
 * again. Methods block with deadlines of their own (virtual threads), and may be interrupted.
 *
 * <p>Whether a guest may run is decided elsewhere, by the gate; a hypervisor only obeys.
 */
public interface Hypervisor extends AutoCloseable {

  /** For example {@code qemu}, {@code simulated}. */
  String name();

  /**
   * What a VM is to keep in its platform map from its first start on, so that every host builds the
   * same machine for it: machine type, processor, device addresses. Empty where nothing depends on
   * it.
   */
  default Map<String, String> newMachine() throws HypervisorException, InterruptedException {
    return Map.of();
  }

  /**
   * Why a guest that runs on such a machine elsewhere could not go on here, or would miss something
   * that its processor had: in words; empty when nothing is known to stand against it. Takes a
   * fraction of a second, and some seconds at the most.
   */
  default Optional<String> refusal(GuestSpec.Machine machine)
      throws HypervisorException, InterruptedException {
    return Optional.empty();
  }

  /** Whether its guests can have disks of a format, such as {@code raw} or {@code qcow2}. */
  default boolean opens(String format) {
    return true;
  }

  /** Starts a guest, running or paused before its first instruction. */
  Guest start(GuestSpec spec, boolean paused) throws HypervisorException, InterruptedException;

  /**
   * Starts a guest that waits for the memory of another: it runs nothing by itself, not even once
   * the stream is complete, until {@link Guest#resume}. It opens its disks, but changes and caches
   * nothing of them before {@link Guest#activate}.
   */
  Guest startIncoming(GuestSpec spec) throws HypervisorException, InterruptedException;

  /** Every live guest of this host, found anew: from a server before this one, too. */
  List<Guest> guests() throws HypervisorException, InterruptedException;

  Optional<Guest> find(UUID vm) throws HypervisorException, InterruptedException;

  /**
   * Removes what is left on this host of guests that have ended, such as their logs, except of the
   * VMs that are still known here. Nothing of a live guest is touched.
   *
   * @param known asked at the last moment, so that nothing of a VM that is just coming is taken
   */
  default void removeLeavings(Predicate<UUID> known)
      throws HypervisorException, InterruptedException {}

  /** Lets go of all guests without touching them. */
  @Override
  void close();
}
