package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.sr.VdiInfo;
import java.util.LinkedHashSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/** What of the records speaks against a disk's move within the host. */
public final class MoveChecks {
  private MoveChecks() {}

  /**
   * Looks for what speaks against a move, as far as that can be seen without beginning.
   *
   * @return the VMs that have the disk
   * @throws XenApiException VDI_NEEDS_VM_FOR_MIGRATE, VDI_INCOMPATIBLE_TYPE, VDI_CBT_ENABLED when
   *     the disk would change its SR, HANDLE_INVALID
   */
  public static Set<Ref<VM>> check(Snapshot db, Ref<VDI> vdi, Ref<SR> sr) throws XenApiException {
    Set<Ref<VM>> vms = users(db, vdi);
    checkType(db, vdi);
    checkUntracked(db, vdi, sr);
    db.get(sr, SR.UUID);
    return vms;
  }

  /**
   * The VMs that have the disk.
   *
   * @throws XenApiException VDI_NEEDS_VM_FOR_MIGRATE
   */
  public static Set<Ref<VM>> users(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    Set<Ref<VM>> vms = new LinkedHashSet<>();
    for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
      vms.add(db.get(vbd, VBD.VM));
    }
    if (vms.isEmpty()) {
      throw new XenApiException("VDI_NEEDS_VM_FOR_MIGRATE", vdi.opaque());
    }
    return vms;
  }

  /**
   * @throws XenApiException VDI_INCOMPATIBLE_TYPE
   */
  public static void checkType(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    String type = db.get(vdi, VDI.TYPE).wire();
    if (type.equals("cbt_metadata")) {
      throw new XenApiException("VDI_INCOMPATIBLE_TYPE", vdi.opaque(), type);
    }
  }

  /**
   * @throws XenApiException VDI_CBT_ENABLED when the disk would change its SR
   */
  public static void checkUntracked(Snapshot db, Ref<VDI> vdi, Ref<SR> sr) throws XenApiException {
    if (db.get(vdi, VDI.CBT_ENABLED) && !db.get(vdi, VDI.SR).equals(sr)) {
      throw new XenApiException("VDI_CBT_ENABLED", vdi.opaque());
    }
  }

  /**
   * A disk that is in the SR already stays as it is.
   *
   * @param format asked for, if any
   * @throws XenApiException INVALID_VALUE for such a disk when another format was asked for
   */
  public static void checkFormat(Snapshot db, Ref<VDI> vdi, Ref<SR> sr, Optional<String> format)
      throws XenApiException {
    String now = db.get(vdi, VDI.SM_CONFIG).getOrDefault(VdiInfo.SM_CONFIG_FORMAT, "raw");
    if (format.isPresent() && !format.get().equals(now) && db.get(vdi, VDI.SR).equals(sr)) {
      throw new XenApiException(
          "INVALID_VALUE",
          VdiInfo.SM_CONFIG_FORMAT,
          format.get()
              + ": VDI "
              + db.get(vdi, VDI.UUID)
              + " is in that SR already and stays "
              + now
              + "; it changes its format when it goes to another SR");
    }
  }

  /**
   * The disk as the one guest has it that is there; empty when none is.
   *
   * @throws XenApiException VM_BAD_POWER_STATE, VDI_IN_USE, OPERATION_NOT_ALLOWED for a CD
   */
  public static Optional<GuestSpecs.VmDisk> live(Snapshot db, Ref<VDI> vdi, Set<Ref<VM>> vms)
      throws XenApiException {
    Optional<GuestSpecs.VmDisk> found = Optional.empty();
    for (Ref<VM> vm : vms) {
      VmPowerState state = db.get(vm, VM.POWER_STATE);
      if (state == VmPowerState.PAUSED) {
        throw new XenApiException(
            "VM_BAD_POWER_STATE",
            vm.opaque(),
            "halted, suspended, running",
            state.wire().toLowerCase(Locale.ROOT));
      }
      for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, vm)) {
        if (disk.vdi().equals(vdi)
            && state == VmPowerState.RUNNING
            && db.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)) {
          if (disk.cd()) {
            throw new XenApiException(
                "OPERATION_NOT_ALLOWED", "what lies in a drive of a running VM stays where it is");
          }
          if (found.isPresent()) {
            throw new XenApiException("VDI_IN_USE", vdi.opaque(), "mirror");
          }
          found = Optional.of(disk);
        }
      }
    }
    return found;
  }
}
