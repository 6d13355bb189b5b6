package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Transaction;
import java.util.List;

/** The records of disks, removed with what refers to them. */
final class VdiRecords {
  private VdiRecords() {}

  /** Removes the record of a disk; its snapshots are nobody's from then on. */
  static void delete(Transaction tx, Ref<VDI> vdi) throws XenApiException {
    for (Ref<VDI> snapshot : List.copyOf(tx.get(vdi, VDI.SNAPSHOTS))) {
      tx.set(snapshot, VDI.SNAPSHOT_OF, Ref.nullRef());
    }
    tx.delete("VDI", vdi.opaque());
  }
}
