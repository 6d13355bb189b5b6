package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.migration.gate.Gate;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VbdMode;
import io.xenferry.model.VdiOperations;
import io.xenferry.model.VdiType;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.DiskMaker;
import io.xenferry.sr.Progress;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.StorageMux;
import io.xenferry.sr.VdiInfo;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Copies disks through the SR drivers: within an SR as the driver does it, else block by block. */
public final class DiskCopies implements DiskMaker {
  /** What copying is of the whole; the records are the rest. */
  static final double COPYING = 0.98;

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final StorageMux mux;
  private final DiskOperations operations;

  public DiskCopies(ObjectDatabase database, HostStorage storage) {
    this.database = database;
    this.storage = storage;
    this.mux = storage.mux();
    this.operations = new DiskOperations(database);
  }

  @Override
  public Ref<VDI> copy(Ref<VDI> disk, Ref<SR> to, Task task) throws XenApiException {
    return copy(disk, to, Optional.empty(), task);
  }

  private Ref<VDI> copy(Ref<VDI> disk, Ref<SR> to, Optional<Ref<VDI>> base, Task task)
      throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<SR> from = db.get(disk, VDI.SR);
    storage.requireAttached(to);
    requireReadable(db, disk);
    try {
      VdiInfo source =
          mux.repository(db.get(from, SR.UUID))
              .stat(db.get(disk, VDI.LOCATION))
              .withoutSmConfig(VdiInfo.SM_CONFIG_MIGRATION)
              .withoutSmConfig(VdiInfo.SM_CONFIG_LINEAGE)
              .edit()
              .nameLabel(db.get(disk, VDI.NAME_LABEL))
              .nameDescription(db.get(disk, VDI.NAME_DESCRIPTION))
              .done();
      if (from.equals(to) && base.isEmpty()) {
        VdiInfo made = mux.copyOf(db.get(from, SR.UUID), source, new TaskProgress(task, COPYING));
        Ref<VDI> copied = storage.recordMade(to, made);
        storage.use().of(disk); // what both have is the copy's now, where they share it
        dress(disk, copied);
        return copied;
      }
      if (base.isPresent()) {
        requireReadable(db, base.get());
      }
      Ref<VDI> made =
          storage.createVdi(
              to,
              VdiInfo.request(source.nameLabel(), source.virtualSize())
                  .edit()
                  .nameDescription(source.nameDescription())
                  .type(source.type())
                  .done());
      boolean done = false;
      try {
        fill(made, disk, base, task);
        done = true;
      } finally {
        if (!done) {
          storage.destroyVdi(made);
        }
      }
      dress(disk, made);
      return made;
    } catch (SmapiException e) {
      task.throwIfCancelled();
      throw e.toXenApi(disk.opaque());
    }
  }

  /** What clients keep with a disk its copy has as well. */
  private void dress(Ref<VDI> disk, Ref<VDI> copy) throws XenApiException {
    Snapshot db = database.snapshot();
    Map<String, String> config = new LinkedHashMap<>(db.get(disk, VDI.OTHER_CONFIG));
    config.remove(MovedRecords.SUCCEEDS);
    Map<String, String> data = db.get(disk, VDI.XENSTORE_DATA);
    List<String> tags = db.get(disk, VDI.TAGS);
    if (!config.isEmpty() || !data.isEmpty() || !tags.isEmpty()) {
      database.change(tx -> {
        tx.set(copy, VDI.OTHER_CONFIG, config);
        tx.set(copy, VDI.XENSTORE_DATA, data);
        tx.set(copy, VDI.TAGS, tags);
      });
    }
  }

  /**
   * Copies a disk by itself, or what it has otherwise than another one.
   *
   * @param operation that the disk shows meanwhile
   * @param base what it shares with the disk is left out, and zeroes in the copy
   * @param task past cancelling afterwards
   * @throws XenApiException as {@link #copy}; VDI_INCOMPATIBLE_TYPE, VDI_NOT_MANAGED
   */
  Ref<VDI> copyAlone(
      Ref<VDI> disk, VdiOperations operation, Ref<SR> to, Optional<Ref<VDI>> base, Task task)
      throws XenApiException {
    try (var shown = operations.begin(disk, operation, task.ref())) {
      Ref<VDI> made = copy(disk, to, base, task);
      task.cancellable(false);
      if (task.cancelled()) {
        storage.destroyVdi(made);
      }
      task.throwIfCancelled();
      return made;
    }
  }

  /**
   * Copies a disk into one that is there, which has some of both when that fails or is cancelled;
   * what the other has beyond the disk's end stays.
   *
   * @param base the other disk holds what this one does: only what differs from it is written
   * @param task past cancelling afterwards
   * @throws XenApiException VDI_READONLY, VDI_TOO_SMALL, VDI_IN_USE, VDI_INCOMPATIBLE_TYPE,
   *     VDI_NOT_MANAGED, SR_NOT_ATTACHED, OPERATION_NOT_ALLOWED for a disk of a migration or of a
   *     VM that moves, TASK_CANCELLED, or what a driver says
   */
  void copyInto(Ref<VDI> disk, Ref<VDI> into, Optional<Ref<VDI>> base, Task task)
      throws XenApiException {
    Snapshot db = database.snapshot();
    requireReadable(db, disk);
    if (base.isPresent()) {
      requireReadable(db, base.get());
    }
    requireWritable(db, into, "copy");
    if (into.equals(disk) || base.isPresent() && into.equals(base.get())) {
      throw new XenApiException("VDI_IN_USE", into.opaque(), "copy");
    }
    long size = db.get(disk, VDI.VIRTUAL_SIZE);
    if (db.get(into, VDI.VIRTUAL_SIZE) < size) {
      throw new XenApiException("VDI_TOO_SMALL", into.opaque(), Long.toString(size));
    }
    List<Gate.Permit> permits =
        storage.permits(
            db.get(db.get(into, VDI.SR), SR.UUID), Optional.of(db.get(into, VDI.LOCATION)));
    try (var source = operations.begin(disk, VdiOperations.COPY, task.ref());
        var target = operations.begin(into, VdiOperations.BLOCKED, task.ref())) {
      fill(into, disk, base, task);
      task.pastCancelling();
    } catch (SmapiException e) {
      task.throwIfCancelled();
      throw e.toXenApi(disk.opaque());
    } finally {
      permits.forEach(Gate.Permit::close);
    }
  }

  /**
   * The MD5 of a disk that no guest writes, as published servers have it.
   *
   * @param task shows the progress; cancelling it ends the reading
   * @throws XenApiException as {@link #copyAlone}
   */
  String checksum(Ref<VDI> disk, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    requireReadable(db, disk);
    try (BlockBackend content = openForReading(db, disk)) {
      return DiskDigest.md5(content, new TaskProgress(task, COPYING));
    } catch (BlockException e) {
      throw new XenApiException("VDI_IO_ERROR", disk.opaque()).withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("TASK_CANCELLED", task.ref()).withCause(e);
    } finally {
      task.throwIfCancelled();
    }
  }

  /**
   * Makes a disk in place what a snapshot of it is.
   *
   * @throws XenApiException OPERATION_NOT_ALLOWED for what is no snapshot; HANDLE_INVALID when the
   *     disk is gone; as {@link #copyInto}; UNIMPLEMENTED_IN_SM_BACKEND where disks have no layers
   */
  void revert(Ref<VDI> snapshot, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    requireDisk(db, snapshot);
    if (!db.get(snapshot, VDI.IS_A_SNAPSHOT)) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "VDI " + snapshot + " is no snapshot");
    }
    Ref<VDI> disk = db.get(snapshot, VDI.SNAPSHOT_OF);
    requireWritable(db, disk, "revert");
    if (!db.get(disk, VDI.SR).equals(db.get(snapshot, VDI.SR))) {
      throw new XenApiException("UNIMPLEMENTED_IN_SM_BACKEND", db.get(disk, VDI.SR).opaque());
    }
    String sr = db.get(db.get(disk, VDI.SR), SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    String earlier = db.get(snapshot, VDI.LOCATION);
    List<Gate.Permit> permits = storage.permits(sr, Optional.of(location));
    try (var source = operations.begin(snapshot, VdiOperations.REVERT_FROM, task.ref());
        var target = operations.begin(disk, VdiOperations.REVERT_TO, task.ref())) {
      HostStorage.drive(disk, () -> mux.revert(sr, location, earlier));
      VdiInfo now = HostStorage.driver(disk, () -> mux.repository(sr).stat(location));
      database.change(tx -> tx.set(disk, VDI.VIRTUAL_SIZE, now.virtualSize()));
    } finally {
      permits.forEach(Gate.Permit::close);
    }
    storage.use().of(disk);
  }

  /** What no guest writes. */
  private void requireReadable(Snapshot db, Ref<VDI> disk) throws XenApiException {
    requireDisk(db, disk);
    for (Ref<VBD> vbd : db.get(disk, VDI.VBDS)) {
      if (db.get(vbd, VBD.CURRENTLY_ATTACHED) && db.get(vbd, VBD.MODE) == VbdMode.RW) {
        throw new XenApiException("VDI_IN_USE", disk.opaque(), "copy");
      }
    }
  }

  /** What no guest has, nor is to go on with. */
  private void requireWritable(Snapshot db, Ref<VDI> disk, String operation)
      throws XenApiException {
    requireDisk(db, disk);
    boolean frozen =
        db.get(disk, VDI.IS_A_SNAPSHOT)
            && "qcow2".equals(db.get(disk, VDI.SM_CONFIG).get(VdiInfo.SM_CONFIG_FORMAT));
    if (db.get(disk, VDI.READ_ONLY) || frozen) {
      throw new XenApiException("VDI_READONLY", disk.opaque());
    }
    for (Ref<VBD> vbd : db.get(disk, VDI.VBDS)) {
      if (db.get(vbd, VBD.CURRENTLY_ATTACHED)
          || db.get(db.get(vbd, VBD.VM), VM.POWER_STATE) == VmPowerState.SUSPENDED) {
        throw new XenApiException("VDI_IN_USE", disk.opaque(), operation);
      }
    }
    // A suspended VM's memory is on no VBD, nor, while it is being written, known to be its own.
    if (db.get(disk, VDI.TYPE) == VdiType.SUSPEND) {
      throw new XenApiException("VDI_INCOMPATIBLE_TYPE", disk.opaque(), VdiType.SUSPEND.wire());
    }
    for (Row vm : db.rows("VM")) {
      if (db.get(Ref.<VM>of(vm.ref()), VM.SUSPEND_VDI).equals(disk)) {
        throw new XenApiException("VDI_IN_USE", disk.opaque(), operation);
      }
    }
  }

  private void requireDisk(Snapshot db, Ref<VDI> disk) throws XenApiException {
    storage.requireAttached(db.get(disk, VDI.SR));
    if (!db.get(disk, VDI.MANAGED)) {
      throw new XenApiException("VDI_NOT_MANAGED", disk.opaque());
    }
    MoveChecks.checkType(db, disk);
  }

  /** Writes a disk that nobody uses; cancelling the task ends it. */
  private void fill(Ref<VDI> to, Ref<VDI> from, Optional<Ref<VDI>> base, Task task)
      throws XenApiException, SmapiException {
    Snapshot db = database.snapshot();
    String sr = db.get(db.get(from, VDI.SR), SR.UUID);
    String location = db.get(from, VDI.LOCATION);
    Progress progress = new TaskProgress(task, COPYING);
    try (BlockBackend target = openForFilling(db, to)) {
      if (base.isEmpty()) {
        mux.copy(sr, location, target, progress);
        return;
      }
      try (BlockBackend known = openForReading(db, base.get())) {
        mux.copyChanges(sr, location, known, target, progress);
      }
    }
  }

  private BlockBackend openForFilling(Snapshot db, Ref<VDI> disk) throws XenApiException {
    String sr = db.get(db.get(disk, VDI.SR), SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    BlockBackend opened = HostStorage.driver(disk, () -> mux.openForFilling(sr, location));
    return storage.use().noting(disk, opened);
  }

  private BlockBackend openForReading(Snapshot db, Ref<VDI> disk) throws XenApiException {
    String sr = db.get(db.get(disk, VDI.SR), SR.UUID);
    String location = db.get(disk, VDI.LOCATION);
    return HostStorage.driver(disk, () -> mux.openForCopy(sr, location));
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
