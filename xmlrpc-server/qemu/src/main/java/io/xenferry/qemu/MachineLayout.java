package io.xenferry.qemu;

import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.util.ArrayList;
import java.util.List;

/**
 * Where the devices of a q35 machine are. Fixed for good, since a guest that moves must find each
 * device where it was; another scheme gets another number, and a VM keeps the one that it has.
 *
 * <pre>
 *  00:01.0             VGA
 *  00:02.0 … 00:03.7   root ports port-xvda … port-xvdp, one virtio-blk device each
 *  00:04.0 … 00:04.7   root ports port-vif0 … port-vif7, one network card each
 *  00:05.0             virtio-balloon
 *  00:06.0             virtio-rng
 *  00:07.0             virtio-serial with the guest agent's port, from layout 2 on
 *  00:08.0             USB with a pointer, where the VM asks for it
 *  00:1f.2             SATA: a CD drive of device number N is at ide.N, N below 6
 * </pre>
 *
 * <p>All ports are there from the start, used or not, so that disks and network cards can be
 * plugged into a running guest: {@code device_add} with {@code bus=port-xvdc}, {@code id=xvdc}.
 */
public final class MachineLayout {
  /** Of machines that are new. */
  static final int NUMBER = 2;

  private static final int FIRST = 1;

  /** The first with a port for the guest agent. */
  private static final int WITH_AGENT = 2;

  static final String VGA = "addr=01.0";
  static final String BALLOON = "addr=05.0";
  static final String RNG = "addr=06.0";
  static final String AGENT = "addr=07.0";
  static final String USB = "addr=08.0";

  private static final int FIRST_PORT_SLOT = 2;
  private static final int FUNCTIONS = 8;

  private MachineLayout() {}

  static boolean isKnown(int number) {
    return number >= FIRST && number <= NUMBER;
  }

  static boolean hasAgent(int number) {
    return number >= WITH_AGENT;
  }

  /** The root port of a disk, by its device's number: that of {@code sdb} is {@code port-xvdb}. */
  public static String diskPort(String device) throws HypervisorException {
    return "port-xvd" + (char) ('a' + slot(device));
  }

  private static int slot(String device) throws HypervisorException {
    try {
      return GuestSpec.slot(device);
    } catch (IllegalArgumentException e) {
      throw new HypervisorException(Kind.REFUSED, String.valueOf(e.getMessage()), e);
    }
  }

  /** The root port of a network card. */
  public static String nicPort(String device) throws HypervisorException {
    if (!GuestSpec.Nic.isDevice(device)) {
      throw new HypervisorException(
          Kind.REFUSED, "VIF device " + device + " is no number below " + GuestSpec.NIC_SLOTS);
    }
    return "port-vif" + device;
  }

  static String sataBus(String device) throws HypervisorException {
    int slot = slot(device);
    if (!GuestSpec.CdDrive.isSlot(slot)) {
      throw new HypervisorException(
          Kind.REFUSED,
          "CD drive " + device + ": its device number must be below " + GuestSpec.CD_SLOTS);
    }
    return "ide." + slot;
  }

  /** The values of {@code -device} for all root ports. */
  static List<String> rootPorts() {
    List<String> names = new ArrayList<>();
    for (int i = 0; i < GuestSpec.DISK_SLOTS; i++) {
      names.add("port-xvd" + (char) ('a' + i));
    }
    for (int i = 0; i < GuestSpec.NIC_SLOTS; i++) {
      names.add("port-vif" + i);
    }
    List<String> ports = new ArrayList<>();
    for (int i = 0; i < names.size(); i++) {
      int function = i % FUNCTIONS;
      ports.add(
          "pcie-root-port,id="
              + names.get(i)
              + ",bus=pcie.0,chassis="
              + (i + 1)
              + ",addr=0"
              + (FIRST_PORT_SLOT + i / FUNCTIONS)
              + "."
              + function
              // Firmware would set 4 KiB aside for each, and there are but 64.
              + ",io-reserve=0"
              + (function == 0 ? ",multifunction=on" : ""));
    }
    return ports;
  }
}
