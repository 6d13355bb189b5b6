package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.sr.SrInfo;
import io.xenferry.sr.StorageMux;
import io.xenferry.sr.VdiInfo;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the records say that VDIs and SRs take up. It is brought up to date where something ends
 * that has changed it, and now and then for the disks of guests. Blocking, thread-safe.
 */
final class StorageUse {
  private static final Logger log = LoggerFactory.getLogger(StorageUse.class);

  /**
   * By how many bytes a guest's disk, or its SR, must have changed before the records follow: every
   * change is an event for every client.
   */
  private static final long MUCH = 1 << 20;

  private final ObjectDatabase database;
  private final StorageMux mux;

  StorageUse(ObjectDatabase database, StorageMux mux) {
    this.database = database;
    this.mux = mux;
  }

  /** What an SR has left. */
  void ofSr(Ref<SR> sr) throws XenApiException {
    SrInfo info = info(database.snapshot(), sr);
    database.change(tx -> record(tx, sr, info));
  }

  /** What all VDIs of an SR take up and rest on, and what it has left. */
  void ofAllIn(Ref<SR> sr) throws XenApiException {
    String uuid = database.snapshot().get(sr, SR.UUID);
    List<VdiInfo> found = HostStorage.driver(() -> mux.repository(uuid).scan());
    SrInfo space = info(database.snapshot(), sr);
    database.change(tx -> {
      for (VdiInfo info : found) {
        Optional<Row> known = tx.byUuid("VDI", info.uuid().orElse(info.vdi()));
        if (known.isPresent()) {
          Ref<VDI> vdi = new Ref<>(known.get().ref());
          tx.set(vdi, VDI.PHYSICAL_UTILISATION, info.physicalUtilisation());
          tx.set(vdi, VDI.SM_CONFIG, info.smConfig());
        }
      }
      record(tx, sr, space);
    });
  }

  /** After a merge of images; an SR that is being attached is scanned afterwards. */
  void ofAllIn(String srUuid) {
    try {
      Optional<Row> sr = database.snapshot().byUuid("SR", srUuid);
      if (sr.isPresent() && mux.list().contains(srUuid)) {
        ofAllIn(new Ref<SR>(sr.get().ref()));
      }
    } catch (XenApiException e) {
      log.warn("what disks of SR {} take up now is not recorded", srUuid, e);
    }
  }

  /**
   * What a VDI takes up, and what its SR has left. Whatever has been done with the VDI has been
   * done: where its SR does not answer the records stay as they are.
   */
  void of(Ref<VDI> vdi) {
    try {
      Snapshot db = database.snapshot();
      if (isHere(db, vdi)) {
        Ref<SR> sr = db.get(vdi, VDI.SR);
        long bytes = bytes(db, vdi);
        SrInfo space = info(db, sr);
        database.change(tx -> {
          if (tx.row("VDI", vdi.opaque()).isPresent()) {
            tx.set(vdi, VDI.PHYSICAL_UTILISATION, bytes);
          }
          record(tx, sr, space);
        });
      }
    } catch (XenApiException e) {
      log.warn("what VDI {} takes up now is not recorded", vdi, e);
    }
  }

  /** The disks of guests, which grow as they are written, and their SRs. */
  void ofGuests(Collection<UUID> vms) throws XenApiException {
    Snapshot db = database.snapshot();
    Map<Ref<VDI>, Long> disks = new LinkedHashMap<>();
    Map<Ref<SR>, SrInfo> spaces = new LinkedHashMap<>();
    for (UUID uuid : vms) {
      Optional<Row> vm = db.byUuid("VM", uuid.toString());
      for (Ref<VBD> vbd :
          vm.isPresent() ? db.get(new Ref<VM>(vm.get().ref()), VM.VBDS) : List.<Ref<VBD>>of()) {
        Ref<VDI> vdi = db.get(vbd, VBD.VDI);
        if (isHere(db, vdi)) {
          disks.put(vdi, bytes(db, vdi));
          Ref<SR> sr = db.get(vdi, VDI.SR);
          if (!spaces.containsKey(sr)) {
            spaces.put(sr, info(db, sr));
          }
        }
      }
    }
    Snapshot now = database.snapshot();
    disks.entrySet().removeIf(e -> !differs(now, e.getKey(), e.getValue()));
    spaces.entrySet().removeIf(e -> !differs(now, e.getKey(), e.getValue()));
    if (!disks.isEmpty() || !spaces.isEmpty()) {
      database.change(tx -> {
        for (Map.Entry<Ref<VDI>, Long> disk : disks.entrySet()) {
          if (tx.row("VDI", disk.getKey().opaque()).isPresent()) {
            tx.set(disk.getKey(), VDI.PHYSICAL_UTILISATION, disk.getValue());
          }
        }
        for (Map.Entry<Ref<SR>, SrInfo> space : spaces.entrySet()) {
          record(tx, space.getKey(), space.getValue());
        }
      });
    }
  }

  private static boolean differs(Snapshot db, Ref<VDI> vdi, long bytes) {
    try {
      return Math.abs(db.get(vdi, VDI.PHYSICAL_UTILISATION) - bytes) >= MUCH;
    } catch (XenApiException e) {
      return false; // gone
    }
  }

  private static boolean differs(Snapshot db, Ref<SR> sr, SrInfo info) {
    try {
      return Math.abs(db.get(sr, SR.PHYSICAL_UTILISATION) - used(info)) >= MUCH;
    } catch (XenApiException e) {
      return false; // gone
    }
  }

  /** Whether the VDI has a record, and its SR is attached. */
  private boolean isHere(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    return db.row("VDI", vdi.opaque()).isPresent()
        && mux.list().contains(db.get(db.get(vdi, VDI.SR), SR.UUID));
  }

  private long bytes(Snapshot db, Ref<VDI> vdi) throws XenApiException {
    String sr = db.get(db.get(vdi, VDI.SR), SR.UUID);
    String location = db.get(vdi, VDI.LOCATION);
    return HostStorage.driver(() -> mux.repository(sr).stat(location)).physicalUtilisation();
  }

  private SrInfo info(Snapshot db, Ref<SR> sr) throws XenApiException {
    String uuid = db.get(sr, SR.UUID);
    return HostStorage.driver(() -> mux.repository(uuid).stat());
  }

  private static long used(SrInfo info) {
    return info.totalSpace() - info.freeSpace();
  }

  /** What an SR has left, and what its VDIs could take up; of one that is forgotten nothing. */
  static void record(Transaction tx, Ref<SR> sr, SrInfo info) throws XenApiException {
    if (tx.row("SR", sr.opaque()).isEmpty()) {
      return;
    }
    long virtual = 0;
    for (Ref<VDI> vdi : tx.get(sr, SR.VDIS)) {
      virtual += tx.get(vdi, VDI.VIRTUAL_SIZE);
    }
    tx.set(sr, SR.VIRTUAL_ALLOCATION, virtual);
    tx.set(sr, SR.PHYSICAL_SIZE, info.totalSpace());
    tx.set(sr, SR.PHYSICAL_UTILISATION, used(info));
  }

  /** A disk that this server writes: what it takes up is recorded when it is closed. */
  BlockBackend noting(Ref<VDI> vdi, BlockBackend disk) {
    return new ForwardingBackend(disk) {
      @Override
      public void close() {
        super.close();
        of(vdi);
      }
    };
  }
}
