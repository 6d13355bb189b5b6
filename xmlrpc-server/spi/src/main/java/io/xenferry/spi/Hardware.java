package io.xenferry.spi;

import java.util.function.Consumer;

/**
 * What can be given to a guest and taken from it while it lives. The guest's notes follow each
 * change, so that a later server, and whoever builds its copy elsewhere, knows it as it is. Methods
 * block with deadlines of their own; thread-safe, one change after another.
 *
 * <p>A guest has to agree before a device is taken from it: REFUSED says that it does not, TIMEOUT
 * that it has not answered. In the latter case it is still asked, and may let go at any time
 * afterwards: see {@link #onRelease}.
 */
public interface Hardware {

  /** The guest as it is now. */
  GuestSpec spec();

  /**
   * Gives the guest a disk at the place that its device's name stands for.
   *
   * @throws HypervisorException REFUSED when it has such a device, or the image cannot be had
   */
  void attach(GuestSpec.Disk disk) throws HypervisorException, InterruptedException;

  /** Takes a disk away, and returns when its image is closed. Does nothing when there is none. */
  void detachDisk(String device) throws HypervisorException, InterruptedException;

  /** Gives the guest a network card. */
  void attach(GuestSpec.Nic nic) throws HypervisorException, InterruptedException;

  /** Takes a network card away, and returns when it is gone. Does nothing when there is none. */
  void detachNic(String device) throws HypervisorException, InterruptedException;

  /**
   * Puts a medium into a CD drive.
   *
   * @throws HypervisorException REFUSED when there is no such drive, it is not empty, or the image
   *     cannot be had
   */
  void insert(String device, GuestSpec.Medium medium)
      throws HypervisorException, InterruptedException;

  /**
   * Takes the medium out of a CD drive. Does nothing when there is none.
   *
   * @throws HypervisorException REFUSED when the guest has locked the tray
   */
  void eject(String device) throws HypervisorException, InterruptedException;

  /** Processors that the guest has now, used or not. */
  int vcpus() throws HypervisorException, InterruptedException;

  /**
   * Adds or takes away processors. A guest must agree to the latter, and cannot lose those that it
   * started with.
   *
   * @param count 1 to the spec's maximum
   * @throws HypervisorException REFUSED too where the hypervisor cannot take processors away from
   *     this guest; it has what it had
   */
  void setVcpus(int count) throws HypervisorException, InterruptedException;

  /**
   * Lets the guest's processors, those that come later too, share this host in another way.
   *
   * @throws HypervisorException REFUSED when this host has none of the processors that are named,
   *     or the server may not let the guest have a greater weight; the guest may have a part of it
   */
  void setScheduling(Scheduling scheduling) throws HypervisorException, InterruptedException;

  /** Bytes of memory that the guest has, less what the balloon has taken. */
  long memory() throws HypervisorException, InterruptedException;

  /**
   * Asks the guest to give memory back, or lets it have it again. Returns at once; a guest without
   * a driver for the balloon does nothing, as {@link #memory} tells.
   *
   * @param bytes up to the spec's maximum
   */
  void setMemoryTarget(long bytes) throws HypervisorException, InterruptedException;

  /** Devices that the guest lets go by itself, or late; called on a thread of the driver's. */
  AutoCloseable onRelease(Consumer<Release> listener);

  /**
   * A device that a guest has let go; its image is closed.
   *
   * @param device the disk's or the card's, as in the spec
   */
  record Release(Kind kind, String device) {
    /** What it was. */
    public enum Kind {
      DISK,
      NIC
    }
  }
}
