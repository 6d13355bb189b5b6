package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VbdMode;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;

/** Which guests may have a disk at the same time: any number that only read it, or one. */
final class DiskSharing {
  private DiskSharing() {}

  /**
   * @param vbd that is about to be attached
   * @throws XenApiException VDI_IN_USE when another VM's guest has the disk; VDI_READONLY for one
   *     that is not to be written
   */
  static void check(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    Ref<VDI> vdi = db.get(vbd, VBD.VDI);
    boolean writes = db.get(vbd, VBD.MODE) == VbdMode.RW;
    if (writes && db.get(vdi, VDI.READ_ONLY)) {
      throw new XenApiException("VDI_READONLY", vdi.opaque());
    }
    if (db.get(vdi, VDI.SHARABLE)) {
      return;
    }
    for (Ref<VBD> other : db.get(vdi, VDI.VBDS)) {
      if (!other.equals(vbd)
          && db.get(other, VBD.CURRENTLY_ATTACHED)
          && (writes || db.get(other, VBD.MODE) == VbdMode.RW)) {
        throw new XenApiException(
            "VDI_IN_USE", vdi.opaque(), "attached to VM " + db.get(db.get(other, VBD.VM), VM.UUID));
      }
    }
  }
}
