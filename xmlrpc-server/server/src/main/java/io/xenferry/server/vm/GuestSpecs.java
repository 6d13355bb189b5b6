package io.xenferry.server.vm;

import io.xenferry.model.Network;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VbdMode;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.GuestSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;

/** What the hypervisor is told of a VM, from its records. */
public final class GuestSpecs {
  private GuestSpecs() {}

  /** Where the image of a disk is. */
  @FunctionalInterface
  public interface Images {
    Path of(Ref<VDI> vdi, boolean writable) throws XenApiException;
  }

  /** One disk of a VM: a VBD that is not empty. */
  public record VmDisk(Ref<VBD> vbd, Ref<VDI> vdi, String device, boolean writable) {}

  /** The VM's disks in the order of their device numbers; empty drives are left out. */
  public static List<VmDisk> disks(Snapshot db, Ref<VM> vm) throws XenApiException {
    List<VmDisk> disks = new ArrayList<>();
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (!db.get(vbd, VBD.EMPTY) && !db.get(vbd, VBD.VDI).isNull()) {
        disks.add(
            new VmDisk(
                vbd,
                db.get(vbd, VBD.VDI),
                device(db.get(vbd, VBD.DEVICE), db.get(vbd, VBD.USERDEVICE)),
                db.get(vbd, VBD.MODE) == VbdMode.RW));
      }
    }
    disks.sort(
        Comparator.comparingInt((VmDisk d) -> d.device().length()).thenComparing(VmDisk::device));
    return disks;
  }

  public static GuestSpec of(Snapshot db, Ref<VM> vm, Images images) throws XenApiException {
    List<GuestSpec.Disk> disks = new ArrayList<>();
    for (VmDisk disk : disks(db, vm)) {
      disks.add(
          new GuestSpec.Disk(
              disk.device(),
              UUID.fromString(db.get(disk.vdi(), VDI.UUID)),
              images.of(disk.vdi(), disk.writable()),
              "raw",
              !disk.writable()));
    }
    List<GuestSpec.Nic> nics = new ArrayList<>();
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      nics.add(
          new GuestSpec.Nic(
              db.get(vif, VIF.DEVICE),
              db.get(vif, VIF.MAC),
              db.get(db.get(vif, VIF.NETWORK), Network.BRIDGE)));
    }
    nics.sort(Comparator.comparing(GuestSpec.Nic::device));
    return new GuestSpec(
        UUID.fromString(db.get(vm, VM.UUID)),
        db.get(vm, VM.NAME_LABEL),
        db.get(vm, VM.MEMORY_STATIC_MAX),
        Math.toIntExact(Math.max(1, db.get(vm, VM.VCPUS_AT_STARTUP))),
        disks,
        nics,
        db.get(vm, VM.PLATFORM));
  }

  /** {@code xvda} for user device 0, and so on; a device that the record names is kept. */
  public static String device(String device, String userdevice) {
    if (!device.isEmpty()) {
      return device;
    }
    int number;
    try {
      number = Integer.parseInt(userdevice);
    } catch (NumberFormatException e) {
      return userdevice;
    }
    StringBuilder letters = new StringBuilder();
    for (int n = number; n >= 0; n = n / 26 - 1) {
      letters.insert(0, (char) ('a' + n % 26));
    }
    return "xvd" + letters;
  }
}
