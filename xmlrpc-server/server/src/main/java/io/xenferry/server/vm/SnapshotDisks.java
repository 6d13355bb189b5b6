package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Snapshots of disks, whether a guest writes them or not: guests are told to change images. */
public final class SnapshotDisks {
  private static final Logger log = LoggerFactory.getLogger(SnapshotDisks.class);

  private static final Instant AT_ONCE = (guest, change) -> change.run();

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final DiskMaker maker;
  private final DiskSnapshots snapshots;
  private final StillDisks still;

  public SnapshotDisks(
      ObjectDatabase database,
      Hypervisor hypervisor,
      DiskMaker maker,
      DiskSnapshots snapshots,
      StillDisks still) {
    this.still = still;
    this.database = database;
    this.hypervisor = hypervisor;
    this.maker = maker;
    this.snapshots = snapshots;
  }

  /** Lets a guest's disks go on with other images. */
  @FunctionalInterface
  interface Change {
    void run() throws HypervisorException, InterruptedException;
  }

  /** Chooses the instant of the guest. */
  @FunctionalInterface
  interface Instant {
    /** To run the change once; what fails afterwards takes the snapshots back. */
    void choose(Guest guest, Change change)
        throws XenApiException, HypervisorException, InterruptedException;
  }

  /** What is known of a change. */
  private enum Changed {
    NO,
    YES,
    UNKNOWN
  }

  /** A disk that a guest writes. */
  private record Written(Ref<VBD> vbd, VmDisk disk, DiskSnapshots.Live snapshot) {}

  /**
   * Takes snapshots of a VM's disks, all or none.
   *
   * @param vbds of the VM, with disks
   * @param task past cancelling when this returns
   * @throws XenApiException TASK_CANCELLED, or why not; then there are none
   */
  public Map<Ref<VBD>, Ref<VDI>> take(Ref<VM> vm, List<Ref<VBD>> vbds, Task task)
      throws XenApiException {
    return take(vm, vbds, task, Optional.empty());
  }

  /**
   * The same at an instant of a guest that runs.
   *
   * @throws XenApiException OPERATION_NOT_ALLOWED also for what the hypervisor says at the instant
   */
  Map<Ref<VBD>, Ref<VDI>> take(Ref<VM> vm, List<Ref<VBD>> vbds, Task task, Instant instant)
      throws XenApiException {
    return take(vm, vbds, task, Optional.of(instant));
  }

  private Map<Ref<VBD>, Ref<VDI>> take(
      Ref<VM> vm, List<Ref<VBD>> vbds, Task task, Optional<Instant> instant)
      throws XenApiException {
    Map<Ref<VBD>, Ref<VDI>> taken = new LinkedHashMap<>();
    boolean done = false;
    try {
      Snapshot db = database.snapshot();
      List<VmDisk> written = new ArrayList<>();
      for (VmDisk disk : GuestSpecs.disks(db, vm)) {
        if (vbds.contains(disk.vbd())) {
          if (isWritten(db, disk.vbd())) {
            written.add(disk);
          } else {
            Task step = task.step(taken.size(), vbds.size());
            taken.put(disk.vbd(), snapshots.snapshot(disk.vdi(), step));
          }
        }
      }
      task.pastCancelling();
      if (!written.isEmpty() || instant.isPresent()) {
        takeOfGuest(vm, written, Optional.empty(), taken, instant.orElse(AT_ONCE));
      }
      done = true;
      return taken;
    } finally {
      if (!done) {
        taken.values().forEach(this::takeBack);
      }
    }
  }

  private void takeBack(Ref<VDI> vdi) {
    try {
      maker.destroy(vdi);
    } catch (XenApiException e) {
      log.warn("disk {} of a snapshot that could not be made is left", vdi, e);
    }
  }

  /** Takes a snapshot of one disk. */
  public Ref<VDI> take(Ref<VDI> disk, Task task) throws XenApiException {
    Optional<Ref<VBD>> writer = writer(disk);
    if (writer.isEmpty()) {
      Ref<VDI> taken = snapshots.snapshot(disk, task);
      task.cancellable(false);
      if (task.cancelled()) {
        takeBack(taken);
      }
      task.throwIfCancelled();
      return taken;
    }
    Ref<VM> vm = database.snapshot().get(writer.get(), VBD.VM);
    return take(vm, List.of(writer.get()), task).values().iterator().next();
  }

  /**
   * Takes a snapshot of a disk that a running guest writes, for a migration.
   *
   * @param tag names the migration in the snapshot's sm_config from the first moment on
   * @return uuid of the snapshot
   * @throws XenApiException UUID_INVALID, VDI_IN_USE, OPERATION_NOT_ALLOWED; then there is none, or
   *     one with the tag
   */
  public UUID takeFor(String tag, UUID disk) throws XenApiException {
    Snapshot db = database.snapshot();
    Ref<VDI> vdi =
        db.byUuid("VDI", disk.toString())
            .map(row -> new Ref<VDI>(row.ref()))
            .orElseThrow(() -> new XenApiException("UUID_INVALID", "VDI", disk.toString()));
    Ref<VBD> vbd =
        writer(vdi)
            .orElseThrow(() ->
                new XenApiException(
                    "OPERATION_NOT_ALLOWED", "no running VM writes VDI " + disk + " any more"));
    Ref<VM> vm = db.get(vbd, VBD.VM);
    List<VmDisk> written =
        GuestSpecs.disks(db, vm).stream().filter(each -> each.vbd().equals(vbd)).toList();
    Map<Ref<VBD>, Ref<VDI>> taken = new LinkedHashMap<>();
    takeOfGuest(vm, written, Optional.of(tag), taken, AT_ONCE);
    return UUID.fromString(database.snapshot().get(taken.values().iterator().next(), VDI.UUID));
  }

  private Optional<Ref<VBD>> writer(Ref<VDI> disk) throws XenApiException {
    Snapshot db = database.snapshot();
    for (Ref<VBD> vbd : db.get(disk, VDI.VBDS)) {
      if (isWritten(db, vbd)) {
        return Optional.of(vbd);
      }
    }
    return Optional.empty();
  }

  private static boolean isWritten(Snapshot db, Ref<VBD> vbd) throws XenApiException {
    VmPowerState state = db.get(db.get(vbd, VBD.VM), VM.POWER_STATE);
    return db.get(vbd, VBD.CURRENTLY_ATTACHED)
        && db.get(vbd, VBD.MODE) == io.xenferry.model.VbdMode.RW
        && (state == VmPowerState.RUNNING || state == VmPowerState.PAUSED);
  }

  private Guest guest(Ref<VM> vm) throws XenApiException {
    UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
    try {
      return hypervisor
          .find(uuid)
          .orElseThrow(
              () -> new XenApiException("INTERNAL_ERROR", "the guest of VM " + uuid + " is gone"));
    } catch (HypervisorException e) {
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("TASK_CANCELLED", vm.opaque()).withCause(e);
    }
  }

  private void takeOfGuest(
      Ref<VM> vm,
      List<VmDisk> disks,
      Optional<String> tag,
      Map<Ref<VBD>, Ref<VDI>> taken,
      Instant instant)
      throws XenApiException {
    Guest guest = guest(vm);
    List<Written> begun = new ArrayList<>();
    Changed[] changed = {Changed.NO};
    boolean done = false;
    try {
      for (VmDisk disk : disks) {
        begun.add(new Written(disk.vbd(), disk, snapshots.begin(disk.vdi(), tag)));
      }
      instant.choose(guest, () -> change(guest, begun, changed));
      done = true;
    } catch (HypervisorException | InterruptedException e) {
      if (e instanceof InterruptedException) {
        Thread.currentThread().interrupt();
      }
      throw new XenApiException(
              "OPERATION_NOT_ALLOWED", "the guest takes no snapshot: " + e.getMessage())
          .withCause(e);
    } finally {
      if (!done) {
        for (Written disk : begun) {
          settle(guest, disk, changed[0], taken);
        }
      }
    }
    for (Written disk : begun) {
      taken.put(disk.vbd(), disk.snapshot().commit());
    }
  }

  private static void change(Guest guest, List<Written> disks, Changed[] changed)
      throws HypervisorException, InterruptedException {
    if (disks.isEmpty()) {
      return;
    }
    changed[0] = Changed.UNKNOWN;
    try {
      guest.changeImages(
          disks.stream()
              .map(w ->
                  new Guest.NextImage(w.disk().device(), w.snapshot().now(), w.snapshot().next()))
              .toList());
      changed[0] = Changed.YES;
    } catch (HypervisorException e) {
      if (e.kind() == HypervisorException.Kind.REFUSED) {
        changed[0] = Changed.NO;
      }
      throw e;
    }
  }

  /** Finds out which image a disk is on; one of which that cannot be known stays locked. */
  private static void settle(
      Guest guest, Written disk, Changed changed, Map<Ref<VBD>, Ref<VDI>> taken)
      throws XenApiException {
    if (changed == Changed.NO) {
      disk.snapshot().abandon();
      return;
    }
    if (changed == Changed.YES) {
      taken.put(disk.vbd(), disk.snapshot().commit());
      return;
    }
    try {
      Path now = guest.image(disk.disk().device());
      if (now.equals(disk.snapshot().next())) {
        taken.put(disk.vbd(), disk.snapshot().commit());
      } else {
        disk.snapshot().abandon();
      }
    } catch (HypervisorException e) {
      log.error(
          "whether disk {} of the guest went on with {} is not known: it stays locked until this"
              + " server starts again",
          disk.disk().device(),
          disk.snapshot().next(),
          e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      log.error("disk {} stays locked until this server starts again", disk.disk().device(), e);
    }
  }

  /** Makes a disk larger, under a guest if one has it. */
  public void resize(Ref<VDI> disk, long bytes) throws XenApiException {
    Optional<Ref<VBD>> writer = writer(disk);
    if (writer.isEmpty()) {
      snapshots.resize(disk, bytes);
      return;
    }
    Snapshot db = database.snapshot();
    Ref<VM> vm = db.get(writer.get(), VBD.VM);
    Guest guest = guest(vm);
    String device =
        GuestSpecs.device(db.get(writer.get(), VBD.DEVICE), db.get(writer.get(), VBD.USERDEVICE));
    try (var kept = still.keep(vm)) {
      guest.resize(device, Math.ceilDiv(bytes, 512) * 512);
    } catch (HypervisorException e) {
      throw new XenApiException(
              "OPERATION_NOT_ALLOWED", "the guest's disk cannot grow now: " + e.getMessage())
          .withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("TASK_CANCELLED", disk.opaque()).withCause(e);
    }
    snapshots.resized(disk);
  }
}
