package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.task.Task;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Snapshots of running VMs with their memory. The memory is sent to a disk while the guest runs;
 * when little is left the guest stands still, its disks go on with new images, the rest of the
 * memory is sent, and the guest goes on. So memory and disks are of one instant, and what it takes
 * of the guest's time is little.
 *
 * <p>A checkpoint is a snapshot that is Suspended and has a suspend image. While one is being taken
 * the VM's own {@code suspend_VDI} names the image, and {@code current_operations} says that its
 * guest must not be left standing: a server that dies leaves both to the next, see {@link
 * InterruptedOperations}.
 */
public final class VmCheckpoint {
  private static final Logger log = LoggerFactory.getLogger(VmCheckpoint.class);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final SnapshotDisks snapshots;
  private final GuestMemory memory;
  private final VmSuspend suspend;

  public VmCheckpoint(
      ObjectDatabase database,
      Hypervisor hypervisor,
      SnapshotDisks snapshots,
      GuestMemory memory,
      VmSuspend suspend) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.snapshots = snapshots;
    this.memory = memory;
    this.suspend = suspend;
  }

  /** What one consists of. */
  record Taken(Map<Ref<VBD>, Ref<VDI>> disks, Ref<VDI> memory) {}

  /** Whether a VM is a snapshot with memory. */
  public static boolean isOne(Snapshot db, Ref<VM> vm) throws XenApiException {
    return db.get(vm, VM.IS_A_SNAPSHOT)
        && db.get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED
        && !db.get(vm, VM.SUSPEND_VDI).isNull();
  }

  /**
   * Takes one; the guest runs afterwards, whether it succeeds or not.
   *
   * @throws XenApiException VM_NO_SUSPEND_SR, SR_FULL and what else the SR driver says, VDI_IN_USE
   *     for a raw disk, VM_CHECKPOINT_SUSPEND_FAILED, TASK_CANCELLED before the memory is sent
   */
  Taken take(Ref<VM> vm, List<Ref<VBD>> vbds, Task task) throws XenApiException {
    UUID uuid = UUID.fromString(database.snapshot().get(vm, VM.UUID));
    Ref<SR> sr = memory.suspendSr(vm);
    suspend.discard(vm);
    Ref<VDI> image;
    try {
      Guest guest =
          hypervisor
              .find(uuid)
              .orElseThrow(() ->
                  new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running", "halted"));
      // Pages that the guest writes meanwhile are sent again, but no page more often than that.
      image = memory.create(sr, guest, 2);
    } catch (HypervisorException e) {
      throw failed(vm, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw failed(vm, e);
    }
    boolean done = false;
    try {
      database.change(tx -> tx.set(vm, VM.SUSPEND_VDI, image));
      Map<Ref<VBD>, Ref<VDI>> disks =
          snapshots.take(vm, vbds, task, (guest, change) -> save(vm, guest, image, change));
      done = true;
      return new Taken(disks, image);
    } finally {
      if (!done) {
        suspend.discard(vm);
      }
    }
  }

  private void save(Ref<VM> vm, Guest guest, Ref<VDI> image, SnapshotDisks.Change change)
      throws XenApiException, InterruptedException {
    try {
      memory.save(guest, image, change::run, guest::resume);
    } catch (IOException | HypervisorException e) {
      throw failed(vm, e);
    }
  }

  private static XenApiException failed(Ref<VM> vm, Exception e) {
    log.warn("no checkpoint of {} is taken", vm, e);
    return new XenApiException("VM_CHECKPOINT_SUSPEND_FAILED", vm.opaque()).withCause(e);
  }

  /** Makes a snapshot's record that of a checkpoint; the image is no longer the VM's. */
  static void record(Transaction tx, Ref<VM> vm, Ref<VM> snapshot, Ref<VDI> image)
      throws XenApiException {
    tx.set(vm, VM.SUSPEND_VDI, Ref.nullRef());
    tx.set(snapshot, VM.SUSPEND_VDI, image);
    tx.set(snapshot, VM.POWER_STATE, VmPowerState.SUSPENDED);
  }
}
