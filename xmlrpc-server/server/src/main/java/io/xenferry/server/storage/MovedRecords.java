package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VbdType;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.vm.GuestSpecs;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What the database says of a disk that moves within the host, and of what hangs on it. */
final class MovedRecords {
  private static final Logger log = LoggerFactory.getLogger(MovedRecords.class);

  /** In the new disk's other_config, from the commit until the old one is gone. */
  static final String SUCCEEDS = "xenferry:succeeds";

  private final ObjectDatabase database;

  MovedRecords(ObjectDatabase database) {
    this.database = database;
  }

  /**
   * The commit: what has the old disk has the new one.
   *
   * @param vms those that were asked; nobody else may have the disk
   */
  void commit(Ref<VDI> from, Ref<VDI> to, Set<Ref<VM>> vms) throws XenApiException {
    database.change(tx -> {
      for (Ref<VBD> vbd : List.copyOf(tx.get(from, VDI.VBDS))) {
        if (!vms.contains(tx.get(vbd, VBD.VM))) {
          throw new XenApiException("VDI_IN_USE", from.opaque(), "mirror");
        }
        if (tx.get(vbd, VBD.TYPE) == VbdType.DISK) {
          tx.set(vbd, VBD.OTHER_CONFIG, GuestSpecs.withSerial(tx, vbd));
        }
        tx.set(vbd, VBD.VDI, to);
      }
      for (Ref<VDI> snapshot : List.copyOf(tx.get(from, VDI.SNAPSHOTS))) {
        tx.set(snapshot, VDI.SNAPSHOT_OF, to);
      }
      tx.set(to, VDI.NAME_LABEL, tx.get(from, VDI.NAME_LABEL));
      tx.set(to, VDI.NAME_DESCRIPTION, tx.get(from, VDI.NAME_DESCRIPTION));
      tx.set(to, VDI.TAGS, tx.get(from, VDI.TAGS));
      tx.set(to, VDI.SHARABLE, tx.get(from, VDI.SHARABLE));
      tx.set(to, VDI.READ_ONLY, tx.get(from, VDI.READ_ONLY));
      tx.set(to, VDI.ON_BOOT, tx.get(from, VDI.ON_BOOT));
      tx.set(to, VDI.ALLOW_CACHING, tx.get(from, VDI.ALLOW_CACHING));
      tx.set(to, VDI.XENSTORE_DATA, tx.get(from, VDI.XENSTORE_DATA));
      Map<String, String> config = new LinkedHashMap<>(tx.get(from, VDI.OTHER_CONFIG));
      config.put(SUCCEEDS, tx.get(from, VDI.UUID));
      tx.set(to, VDI.OTHER_CONFIG, config);
    });
  }

  private static Optional<Ref<VDI>> find(Snapshot db, UUID vdi) throws XenApiException {
    return db.byUuid("VDI", vdi.toString()).map(Row::ref).map(Ref::new);
  }

  boolean committed(DiskMove move) {
    try {
      Snapshot db = database.snapshot();
      Optional<Ref<VDI>> to = find(db, move.to());
      return to.isPresent()
          && move.from().toString().equals(db.get(to.get(), VDI.OTHER_CONFIG).get(SUCCEEDS));
    } catch (XenApiException e) {
      // Gone between the two looks: then it was not.
      log.debug("{} is gone", move.to(), e);
      return false;
    }
  }

  /** Whether the disk is there and nobody's: somebody may have found it and taken it since. */
  boolean unused(UUID vdi) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Ref<VDI>> found = find(db, vdi);
    if (found.isEmpty()) {
      return false;
    }
    for (Ref<VBD> vbd : db.get(found.get(), VDI.VBDS)) {
      Ref<VM> vm = db.get(vbd, VBD.VM);
      log.warn("VDI {} was left over of a disk's move, and {} has it since: it is kept", vdi, vm);
      return false;
    }
    return true;
  }

  /** The old disk is gone: the new one is a disk like all others. */
  void settled(DiskMove move) throws XenApiException {
    database.change(tx -> {
      Optional<Ref<VDI>> to = find(tx, move.to());
      if (to.isPresent()) {
        Map<String, String> config = new LinkedHashMap<>(tx.get(to.get(), VDI.OTHER_CONFIG));
        config.remove(SUCCEEDS);
        tx.set(to.get(), VDI.OTHER_CONFIG, config);
      }
    });
  }
}
