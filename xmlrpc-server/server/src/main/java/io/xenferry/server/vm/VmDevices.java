package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VbdMode;
import io.xenferry.model.VbdOperations;
import io.xenferry.model.VbdType;
import io.xenferry.model.VifOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hardware;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Plugs devices into the running guests of this host and takes them away. The caller has passed the
 * gate. A guest must agree to a disk's leaving; until it does, the disk is attached.
 */
public final class VmDevices {
  private static final Logger log = LoggerFactory.getLogger(VmDevices.class);

  private static final Set<VmPowerState> THERE =
      EnumSet.of(VmPowerState.RUNNING, VmPowerState.PAUSED);

  private static final Set<VmPowerState> NOT_SUSPENDED =
      EnumSet.of(VmPowerState.HALTED, VmPowerState.RUNNING, VmPowerState.PAUSED);

  /** A guest that stands still cannot agree to anything. */
  private static final Set<VmPowerState> ANSWERING = EnumSet.of(VmPowerState.RUNNING);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final VmDisks disks;
  private final StillDisks still;
  private final DeviceOperations operations;

  public VmDevices(
      ObjectDatabase database,
      Hypervisor hypervisor,
      VmDisks disks,
      StillDisks still,
      VmAdmission.AllowedOperations allowed) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.disks = disks;
    this.still = still;
    this.operations = new DeviceOperations(database, allowed);
  }

  /**
   * @throws XenApiException DEVICE_ALREADY_ATTACHED, VM_BAD_POWER_STATE, what the SR driver or the
   *     hypervisor says
   */
  public void plug(Ref<VBD> vbd, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VM> vm = db.get(vbd, VBD.VM);
    if (db.get(vbd, VBD.TYPE) == VbdType.CD) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED",
          "A CD drive is part of the machine: it appears when the VM is started or rebooted the"
              + " next time (xe vm-reboot)");
    }
    try (var operation = operations.begin(vbd, VbdOperations.PLUG, task, THERE)) {
      if (database.snapshot().get(vbd, VBD.CURRENTLY_ATTACHED)) {
        throw new XenApiException("DEVICE_ALREADY_ATTACHED", vbd.opaque());
      }
      DiskSharing.check(db, vbd);
      UUID uuid = uuid(db, vm);
      Ref<VDI> vdi = db.get(vbd, VBD.VDI);
      String device = GuestSpecs.device(db.get(vbd, VBD.DEVICE), db.get(vbd, VBD.USERDEVICE));
      boolean writable = db.get(vbd, VBD.MODE) == VbdMode.RW;
      Guest guest = guest(vm, uuid);
      Path image = disks.attach(vdi, uuid, writable);
      GuestSpec.Disk disk =
          new GuestSpec.Disk(
              device,
              UUID.fromString(db.get(vdi, VDI.UUID)),
              image,
              GuestSpecs.format(image),
              !writable,
              GuestSpecs.serial(db, vbd));
      try {
        disks.activate(vdi, uuid);
        guest.hardware().attach(disk);
      } catch (XenApiException | HypervisorException | InterruptedException e) {
        giveBackUnlessThere(guest, device, vdi);
        throw e;
      }
      database.change(tx -> {
        tx.set(vbd, VBD.CURRENTLY_ATTACHED, true);
        tx.set(vbd, VBD.DEVICE, device);
      });
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, "VBD", vbd, vm, "DEVICE_ATTACH_TIMEOUT");
    }
  }

  private void giveBackUnlessThere(Guest guest, String device, Ref<VDI> vdi)
      throws XenApiException {
    if (!guest.devices().contains(device)) {
      disks.detach(vdi, guest.vm());
    }
  }

  /**
   * @throws XenApiException DEVICE_ALREADY_DETACHED, VBD_NOT_UNPLUGGABLE, VM_BAD_POWER_STATE,
   *     DEVICE_DETACH_REJECTED or DEVICE_DETACH_TIMEOUT when the guest does not let go
   */
  public void unplug(Ref<VBD> vbd, VbdOperations how, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VM> vm = db.get(vbd, VBD.VM);
    if (db.get(vbd, VBD.TYPE) == VbdType.CD || !db.get(vbd, VBD.UNPLUGGABLE)) {
      throw new XenApiException("VBD_NOT_UNPLUGGABLE", vbd.opaque());
    }
    try (var operation = operations.begin(vbd, how, task, ANSWERING);
        var kept = still.keep(vm)) {
      if (!database.snapshot().get(vbd, VBD.CURRENTLY_ATTACHED)) {
        throw new XenApiException("DEVICE_ALREADY_DETACHED", vbd.opaque());
      }
      guest(vm, uuid(db, vm)).hardware().detachDisk(db.get(vbd, VBD.DEVICE));
      detached(vbd);
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, "VBD", vbd, vm, "DEVICE_DETACH_TIMEOUT");
    }
  }

  private void detached(Ref<VBD> vbd) throws XenApiException {
    Snapshot db = database.snapshot();
    disks.detach(db.get(vbd, VBD.VDI), uuid(db, db.get(vbd, VBD.VM)));
    database.change(tx -> tx.set(vbd, VBD.CURRENTLY_ATTACHED, false));
  }

  /**
   * Puts a CD into an empty drive; into that of a halted VM for its next start.
   *
   * @throws XenApiException VBD_NOT_REMOVABLE_MEDIA, VBD_NOT_EMPTY, DEVICE_NOT_ATTACHED when the
   *     guest started without the drive, what the SR driver or the hypervisor says
   */
  public void insert(Ref<VBD> vbd, Ref<VDI> vdi, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VM> vm = removable(db, vbd);
    db.get(vdi, VDI.UUID);
    try (var operation = operations.begin(vbd, VbdOperations.INSERT, task, NOT_SUSPENDED)) {
      if (!database.snapshot().get(vbd, VBD.EMPTY)) {
        throw new XenApiException("VBD_NOT_EMPTY", vbd.opaque());
      }
      UUID uuid = uuid(db, vm);
      if (database.snapshot().get(vm, VM.POWER_STATE) != VmPowerState.HALTED) {
        requireAttached(vbd);
        try {
          Path image = disks.attach(vdi, uuid, false);
          GuestSpec.Medium medium =
              new GuestSpec.Medium(
                  UUID.fromString(db.get(vdi, VDI.UUID)), image, GuestSpecs.format(image));
          disks.activate(vdi, uuid);
          guest(vm, uuid).hardware().insert(db.get(vbd, VBD.DEVICE), medium);
        } catch (XenApiException | HypervisorException | InterruptedException e) {
          disks.detach(vdi, uuid);
          throw e;
        }
      }
      database.change(tx -> {
        tx.set(vbd, VBD.VDI, vdi);
        tx.set(vbd, VBD.EMPTY, false);
      });
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, "VBD", vbd, vm, "DEVICE_ATTACH_TIMEOUT");
    }
  }

  /**
   * @throws XenApiException VBD_NOT_REMOVABLE_MEDIA, VBD_IS_EMPTY, VBD_TRAY_LOCKED when the guest
   *     holds on to it
   */
  public void eject(Ref<VBD> vbd, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VM> vm = removable(db, vbd);
    try (var operation = operations.begin(vbd, VbdOperations.EJECT, task, NOT_SUSPENDED)) {
      if (database.snapshot().get(vbd, VBD.EMPTY)) {
        throw new XenApiException("VBD_IS_EMPTY", vbd.opaque());
      }
      if (database.snapshot().get(vm, VM.POWER_STATE) != VmPowerState.HALTED) {
        requireAttached(vbd);
        UUID uuid = uuid(db, vm);
        guest(vm, uuid).hardware().eject(db.get(vbd, VBD.DEVICE));
        disks.detach(db.get(vbd, VBD.VDI), uuid);
      }
      database.change(tx -> {
        tx.set(vbd, VBD.VDI, Ref.nullRef());
        tx.set(vbd, VBD.EMPTY, true);
      });
    } catch (HypervisorException e) {
      if (e.kind() == HypervisorException.Kind.REFUSED) {
        throw new XenApiException("VBD_TRAY_LOCKED", vbd.opaque()).withCause(e);
      }
      throw failed(e, "VBD", vbd, vm, "DEVICE_DETACH_TIMEOUT");
    } catch (InterruptedException e) {
      throw failed(e, "VBD", vbd, vm, "DEVICE_DETACH_TIMEOUT");
    }
  }

  private static Ref<VM> removable(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    if (db.get(vbd, VBD.TYPE) != VbdType.CD) {
      throw new XenApiException("VBD_NOT_REMOVABLE_MEDIA", vbd.opaque());
    }
    return db.get(vbd, VBD.VM);
  }

  private void requireAttached(Ref<VBD> vbd) throws XenApiException {
    if (!database.snapshot().get(vbd, VBD.CURRENTLY_ATTACHED)) {
      throw new XenApiException("DEVICE_NOT_ATTACHED", vbd.opaque());
    }
  }

  /**
   * @throws XenApiException DEVICE_ALREADY_ATTACHED, VM_BAD_POWER_STATE, what the hypervisor says
   */
  public void plugNic(Ref<VIF> vif, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VM> vm = db.get(vif, VIF.VM);
    try (var operation = operations.begin(vif, VifOperations.PLUG, task, THERE)) {
      if (database.snapshot().get(vif, VIF.CURRENTLY_ATTACHED)) {
        throw new XenApiException("DEVICE_ALREADY_ATTACHED", vif.opaque());
      }
      guest(vm, uuid(db, vm)).hardware().attach(GuestSpecs.nic(db, vif));
      database.change(tx -> tx.set(vif, VIF.CURRENTLY_ATTACHED, true));
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, "VIF", vif, vm, "DEVICE_ATTACH_TIMEOUT");
    }
  }

  /**
   * @throws XenApiException DEVICE_ALREADY_DETACHED, VM_BAD_POWER_STATE, DEVICE_DETACH_REJECTED or
   *     DEVICE_DETACH_TIMEOUT when the guest does not let go
   */
  public void unplugNic(Ref<VIF> vif, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VM> vm = db.get(vif, VIF.VM);
    try (var operation = operations.begin(vif, VifOperations.UNPLUG, task, ANSWERING)) {
      if (!database.snapshot().get(vif, VIF.CURRENTLY_ATTACHED)) {
        throw new XenApiException("DEVICE_ALREADY_DETACHED", vif.opaque());
      }
      guest(vm, uuid(db, vm)).hardware().detachNic(db.get(vif, VIF.DEVICE));
      database.change(tx -> tx.set(vif, VIF.CURRENTLY_ATTACHED, false));
    } catch (HypervisorException | InterruptedException e) {
      throw failed(e, "VIF", vif, vm, "DEVICE_DETACH_TIMEOUT");
    }
  }

  /** At start-up: nothing that a server before this one began is in progress any more. */
  public void forgetOperations() throws XenApiException {
    operations.forgetAll();
  }

  /** Follows what the guest lets go by itself, or late. */
  public void watch(Guest guest) {
    guest
        .hardware()
        .onRelease(release ->
            Thread.ofVirtual()
                .name("released by " + guest.vm())
                .start(() -> released(guest.vm(), release)));
  }

  private void released(UUID uuid, Hardware.Release release) {
    try {
      Snapshot db = database.snapshot();
      Optional<Row> row = db.byUuid("VM", uuid.toString());
      if (row.isEmpty()) {
        return;
      }
      Ref<VM> vm = new Ref<>(row.get().ref());
      switch (release.kind()) {
        case DISK -> {
          for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
            // Whoever asked for it in time records it.
            if (db.get(vbd, VBD.DEVICE).equals(release.device())
                && db.get(vbd, VBD.CURRENTLY_ATTACHED)
                && db.get(vbd, VBD.CURRENT_OPERATIONS).isEmpty()) {
              detached(vbd);
              operations.refresh(vm);
            }
          }
        }
        case NIC -> {
          for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
            if (db.get(vif, VIF.DEVICE).equals(release.device())
                && db.get(vif, VIF.CURRENTLY_ATTACHED)
                && db.get(vif, VIF.CURRENT_OPERATIONS).isEmpty()) {
              database.change(tx -> tx.set(vif, VIF.CURRENTLY_ATTACHED, false));
              operations.refresh(vm);
            }
          }
        }
      }
    } catch (XenApiException e) {
      log.warn("VM {} has let {} go, which is not recorded", uuid, release.device(), e);
    }
  }

  private Guest guest(Ref<VM> vm, UUID uuid)
      throws XenApiException, HypervisorException, InterruptedException {
    return hypervisor
        .find(uuid)
        .orElseThrow(
            () -> new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running", "halted"));
  }

  private static UUID uuid(Snapshot db, Ref<VM> vm) throws XenApiException {
    return UUID.fromString(db.get(vm, VM.UUID));
  }

  private static XenApiException failed(
      Exception e, String type, Ref<?> device, Ref<VM> vm, String timeout) {
    if (e instanceof HypervisorException h) {
      XenApiException known =
          switch (h.kind()) {
            case TIMEOUT -> new XenApiException(timeout, type, device.opaque());
            case REFUSED ->
                timeout.equals("DEVICE_DETACH_TIMEOUT")
                    ? new XenApiException(
                        "DEVICE_DETACH_REJECTED",
                        type,
                        device.opaque(),
                        String.valueOf(e.getMessage()))
                    : new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage()));
            case GONE ->
                new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running", "halted");
            case PROTOCOL -> new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage()));
          };
      return known.withCause(e);
    }
    Thread.currentThread().interrupt();
    return new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
  }
}
