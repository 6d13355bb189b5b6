package io.xenferry.server.vm;

import io.xenferry.model.DomainType;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.console.ConsoleRecords;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.time.Instant;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What the records say of guests: whether and where they run, and what they have. */
public final class GuestRecords {
  private static final Logger log = LoggerFactory.getLogger(GuestRecords.class);

  private final ObjectDatabase database;
  private final VmDisks disks;
  private final VmAdmission admission;
  private final FirmwareRecords firmware;
  private final Ref<Host> host;

  /**
   * @param host this one
   */
  public GuestRecords(
      ObjectDatabase database,
      VmDisks disks,
      VmAdmission admission,
      FirmwareRecords firmware,
      Ref<Host> host) {
    this.database = database;
    this.firmware = firmware;
    this.disks = disks;
    this.admission = admission;
    this.host = host;
  }

  /** What the guest finds when it looks at its processor; a move must not change it. */
  void booted(Ref<VM> vm) throws XenApiException {
    database.change(tx -> {
      Map<String, String> here = tx.get(host, Host.CPU_INFO);
      tx.set(
          vm,
          VM.LAST_BOOT_CPU_FLAGS,
          Map.of(
              VmRecords.CPU_VENDOR, here.getOrDefault(VmRecords.CPU_VENDOR, ""),
              VmRecords.CPU_MODEL, here.getOrDefault(VmRecords.CPU_MODEL, "")));
      if (!tx.get(vm, VM.METRICS).isNull()) {
        tx.set(tx.get(vm, VM.METRICS), VMMetrics.START_TIME, Instant.now());
      }
    });
  }

  /** Records that the guest is up, here, with the devices that it has. */
  void running(Ref<VM> vm, VmPowerState state, Guest guest) throws XenApiException {
    GuestSpec spec = guest.hardware().spec();
    long memory = memory(guest);
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, state);
      tx.set(vm, VM.RESIDENT_ON, host);
      tx.set(vm, VM.DOMID, nextDomid(tx));
      tx.set(tx.get(vm, VM.METRICS), VMMetrics.VCPUS_NUMBER, (long) spec.vcpus().present());
      attached(tx, vm, spec);
      if (!tx.get(vm, VM.METRICS).isNull()) {
        Ref<VMMetrics> metrics = tx.get(vm, VM.METRICS);
        tx.set(metrics, VMMetrics.VCPUS_NUMBER, (long) spec.vcpus().present());
        tx.set(metrics, VMMetrics.MEMORY_ACTUAL, memory);
        tx.set(metrics, VMMetrics.LAST_UPDATED, Instant.now());
        tx.set(metrics, VMMetrics.HVM, true);
        tx.set(metrics, VMMetrics.CURRENT_DOMAIN_TYPE, DomainType.HVM);
      }
      admission.refresh(tx, vm);
    });
  }

  /** Until a guest has a driver for its balloon it has all, whatever it is asked to give back. */
  private static long memory(Guest guest) {
    try {
      return guest.hardware().memory();
    } catch (HypervisorException e) {
      // That the guest runs must be recorded all the same; its figures follow.
      log.warn("how much memory VM {} has is not known yet", guest.vm(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return guest.hardware().spec().memory().maximum();
  }

  private static long nextDomid(Transaction tx) throws XenApiException {
    long highest = 0;
    for (Row row : tx.rows("VM")) {
      highest = Math.max(highest, tx.get(new Ref<VM>(row.ref()), VM.DOMID));
    }
    return highest + 1;
  }

  private static void attached(Transaction tx, Ref<VM> vm, GuestSpec spec) throws XenApiException {
    Set<String> there = new HashSet<>();
    spec.disks().forEach(disk -> there.add(disk.device()));
    spec.drives().forEach(drive -> there.add(drive.device()));
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      String device = GuestSpecs.device(tx.get(vbd, VBD.DEVICE), tx.get(vbd, VBD.USERDEVICE));
      tx.set(vbd, VBD.DEVICE, device);
      tx.set(vbd, VBD.CURRENTLY_ATTACHED, there.contains(device));
    }
    Set<String> cards = new HashSet<>();
    spec.nics().forEach(nic -> cards.add(nic.device()));
    for (Ref<VIF> vif : tx.get(vm, VM.VIFS)) {
      tx.set(vif, VIF.CURRENTLY_ATTACHED, cards.contains(tx.get(vif, VIF.DEVICE)));
    }
  }

  /**
   * Brings what is recorded as attached in step with what the guest has, when a server died in the
   * midst of a change: the disks that it does not have are given back.
   */
  void align(Ref<VM> vm, GuestSpec spec) throws XenApiException {
    Snapshot before = database.snapshot();
    database.change(tx -> {
      attached(tx, vm, spec);
      admission.refresh(tx, vm);
    });
    Snapshot after = database.snapshot();
    for (VmDisk disk : GuestSpecs.disks(before, vm)) {
      if (before.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)
          && !after.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)) {
        giveBack(vm, List.of(disk));
      }
    }
  }

  void state(Ref<VM> vm, VmPowerState state) throws XenApiException {
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, state);
      admission.refresh(tx, vm);
    });
  }

  /**
   * Records that no guest is here, and gives the disks back.
   *
   * @param state HALTED or SUSPENDED
   */
  void gone(Ref<VM> vm, VmPowerState state) throws XenApiException {
    giveBack(vm, GuestSpecs.disks(database.snapshot(), vm));
    UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
    FirmwareRecords.Kept kept = firmware.readOrWarn(uuid);
    database.change(tx -> {
      kept.store(tx, vm);
      ended(tx, vm, state);
      admission.refresh(tx, vm);
    });
    if (kept.any()) {
      firmware.discardOrWarn(uuid);
    }
  }

  /**
   * Records that no guest is here.
   *
   * @param state HALTED or SUSPENDED
   */
  public static void ended(Transaction tx, Ref<VM> vm, VmPowerState state) throws XenApiException {
    tx.set(vm, VM.POWER_STATE, state);
    tx.set(vm, VM.RESIDENT_ON, Ref.nullRef());
    tx.set(vm, VM.DOMID, -1L);
    ConsoleRecords.disappear(tx, vm);
    AgentRecords.gone(tx, vm, state);
    Ref<VMMetrics> metrics = tx.get(vm, VM.METRICS);
    if (!metrics.isNull()) {
      tx.set(metrics, VMMetrics.HVM, false);
      tx.set(metrics, VMMetrics.CURRENT_DOMAIN_TYPE, DomainType.UNSPECIFIED);
      tx.set(metrics, VMMetrics.VCPUS_UTILISATION, Map.of());
      tx.set(metrics, VMMetrics.LAST_UPDATED, Instant.now());
    }
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      tx.set(vbd, VBD.CURRENTLY_ATTACHED, false);
    }
    for (Ref<VIF> vif : tx.get(vm, VM.VIFS)) {
      tx.set(vif, VIF.CURRENTLY_ATTACHED, false);
    }
  }

  /** Lets other VMs have disks that the guest does not use any more. */
  void giveBack(Ref<VM> vm, List<VmDisk> attached) throws XenApiException {
    UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
    for (VmDisk disk : attached) {
      try {
        disks.detach(disk.vdi(), uuid);
      } catch (XenApiException e) {
        log.warn("disk {} of {} could not be given back", disk.vdi(), vm, e);
      }
    }
  }
}
