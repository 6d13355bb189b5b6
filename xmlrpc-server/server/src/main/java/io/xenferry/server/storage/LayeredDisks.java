package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.DiskSnapshots;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.StorageRepository.LiveSnapshot;
import io.xenferry.sr.VdiInfo;
import java.nio.file.Path;
import java.util.Optional;

/** Snapshots through the SR drivers, and their records. */
public final class LayeredDisks implements DiskSnapshots {
  private final ObjectDatabase database;
  private final HostStorage storage;

  public LayeredDisks(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
  }

  /** What the driver is asked for: named as the disk is now. */
  private VdiInfo wanted(Ref<VDI> disk, Snapshot db) throws XenApiException {
    Ref<SR> sr = db.get(disk, VDI.SR);
    storage.requireAttached(sr);
    String uuid = db.get(sr, SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    return HostStorage.driver(() -> storage.mux().repository(uuid).stat(location))
        .withoutSmConfig(VdiInfo.SM_CONFIG_MIGRATION)
        .edit()
        .nameLabel(db.get(disk, VDI.NAME_LABEL))
        .nameDescription(db.get(disk, VDI.NAME_DESCRIPTION))
        .done();
  }

  @Override
  public Ref<VDI> snapshot(Ref<VDI> disk, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    String sr = db.get(db.get(disk, VDI.SR), SR.UUID);
    VdiInfo wanted = wanted(disk, db);
    try {
      return record(
          disk, storage.mux().snapshot(sr, wanted, new TaskProgress(task, DiskCopies.COPYING)));
    } catch (SmapiException e) {
      task.throwIfCancelled();
      throw e.toXenApi(disk.opaque());
    }
  }

  private Ref<VDI> record(Ref<VDI> disk, VdiInfo made) throws XenApiException {
    Ref<VDI> snapshot = storage.recordMade(database.snapshot().get(disk, VDI.SR), made);
    database.change(tx -> {
      tx.set(snapshot, VDI.SNAPSHOT_OF, disk);
      tx.set(snapshot, VDI.OTHER_CONFIG, tx.get(disk, VDI.OTHER_CONFIG));
      tx.set(snapshot, VDI.XENSTORE_DATA, tx.get(disk, VDI.XENSTORE_DATA));
      tx.set(snapshot, VDI.TAGS, tx.get(disk, VDI.TAGS));
    });
    storage.use().of(disk); // goes on with an empty image
    return snapshot;
  }

  @Override
  public Live begin(Ref<VDI> disk, Optional<String> tag) throws XenApiException {
    Snapshot db = database.snapshot();
    String sr = db.get(db.get(disk, VDI.SR), SR.UUID);
    VdiInfo plain = wanted(disk, db);
    VdiInfo wanted =
        tag.map(migration -> plain.withSmConfig(VdiInfo.SM_CONFIG_MIGRATION, migration))
            .orElse(plain);
    LiveSnapshot begun = HostStorage.driver(disk, () -> storage.mux().beginSnapshot(sr, wanted));
    return new Live() {
      @Override
      public Path now() {
        return begun.below();
      }

      @Override
      public Path next() {
        return begun.file();
      }

      @Override
      public Ref<VDI> commit() throws XenApiException {
        return record(disk, HostStorage.driver(disk, begun::commit));
      }

      @Override
      public void abandon() {
        begun.abandon();
      }
    };
  }

  @Override
  public void resize(Ref<VDI> disk, long bytes) throws XenApiException {
    storage.resizeVdi(disk, bytes);
  }

  @Override
  public void resized(Ref<VDI> disk) throws XenApiException {
    Snapshot db = database.snapshot();
    String sr = db.get(db.get(disk, VDI.SR), SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    VdiInfo now = HostStorage.driver(() -> storage.mux().repository(sr).stat(location));
    database.change(tx -> tx.set(disk, VDI.VIRTUAL_SIZE, now.virtualSize()));
    storage.use().of(disk);
  }
}
