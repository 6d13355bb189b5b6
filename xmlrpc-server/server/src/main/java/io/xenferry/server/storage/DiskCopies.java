package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VbdMode;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.DiskMaker;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.StorageMux;
import io.xenferry.sr.VdiInfo;

/** Copies disks through the SR drivers: within an SR as the driver does it, else block by block. */
public final class DiskCopies implements DiskMaker {
  /** What copying is of the whole; the records are the rest. */
  static final double COPYING = 0.98;

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final StorageMux mux;

  public DiskCopies(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
    this.mux = storage.mux();
  }

  @Override
  public Ref<VDI> copy(Ref<VDI> disk, Ref<SR> to, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<SR> from = db.get(disk, VDI.SR);
    storage.requireAttached(from);
    storage.requireAttached(to);
    for (Ref<VBD> vbd : db.get(disk, VDI.VBDS)) {
      if (db.get(vbd, VBD.CURRENTLY_ATTACHED) && db.get(vbd, VBD.MODE) == VbdMode.RW) {
        throw new XenApiException("VDI_IN_USE", disk.opaque(), "copy");
      }
    }
    String sr = db.get(from, SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    try {
      VdiInfo source =
          mux.repository(sr)
              .stat(location)
              .withoutSmConfig(VdiInfo.SM_CONFIG_MIGRATION)
              .withoutSmConfig(VdiInfo.SM_CONFIG_LINEAGE)
              .edit()
              .nameLabel(db.get(disk, VDI.NAME_LABEL))
              .nameDescription(db.get(disk, VDI.NAME_DESCRIPTION))
              .done();
      if (from.equals(to)) {
        VdiInfo made = mux.copyOf(sr, source, new TaskProgress(task, COPYING));
        Ref<VDI> copied = storage.recordMade(to, made);
        storage.use().of(disk); // what both have is the copy's now, where they share it
        return copied;
      }
      Ref<VDI> made =
          storage.createVdi(
              to,
              VdiInfo.request(source.nameLabel(), source.virtualSize())
                  .edit()
                  .nameDescription(source.nameDescription())
                  .type(source.type())
                  .done());
      fill(made, sr, location, task);
      return made;
    } catch (SmapiException e) {
      task.throwIfCancelled();
      throw e.toXenApi();
    }
  }

  /** The same for a disk by itself: the task is past cancelling then. */
  Ref<VDI> copyAlone(Ref<VDI> disk, Ref<SR> to, Task task) throws XenApiException {
    Ref<VDI> made = copy(disk, to, task);
    task.cancellable(false);
    if (task.cancelled()) {
      storage.destroyVdi(made);
    }
    task.throwIfCancelled();
    return made;
  }

  private void fill(Ref<VDI> made, String sr, String location, Task task)
      throws XenApiException, SmapiException {
    boolean done = false;
    try (BlockBackend to = open(made, true)) {
      mux.copy(sr, location, to, new TaskProgress(task, COPYING));
      done = true;
    } finally {
      if (!done) {
        storage.destroyVdi(made);
      }
    }
  }

  @Override
  public Ref<VDI> create(Ref<SR> sr, String name, String type, long size) throws XenApiException {
    return storage.createVdi(sr, VdiInfo.request(name, size).edit().type(type).done());
  }

  @Override
  public BlockBackend open(Ref<VDI> disk, boolean writable) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<SR> sr = db.get(disk, VDI.SR);
    storage.requireAttached(sr);
    String uuid = db.get(sr, SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    BlockBackend opened = HostStorage.driver(() -> mux.repository(uuid).open(location, writable));
    return writable ? storage.use().noting(disk, opened) : opened;
  }

  @Override
  public void destroy(Ref<VDI> disk) throws XenApiException {
    storage.destroyVdi(disk);
  }
}
