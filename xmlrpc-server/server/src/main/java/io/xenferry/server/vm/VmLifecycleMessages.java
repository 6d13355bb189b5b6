package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VbdType;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/** The messages that start and stop VMs. */
public final class VmLifecycleMessages {
  private static final String TEST = "LifecycleTest.";
  private static final String SUSPEND_TEST = "SuspendTest.aVmGoesOnWhereItWas";

  private final ObjectDatabase database;
  private final VmLifecycle lifecycle;
  private final VmSuspend suspend;
  private final Gate gate;
  private final VmAdmission admission;

  public VmLifecycleMessages(
      ObjectDatabase database,
      VmLifecycle lifecycle,
      VmSuspend suspend,
      Gate gate,
      VmAdmission admission) {
    this.database = database;
    this.lifecycle = lifecycle;
    this.suspend = suspend;
    this.gate = gate;
    this.admission = admission;
  }

  public void register(Registry r) {
    r.implement(
        "VM.destroy",
        c -> done(() -> destroy(c.ref(0), task(c))),
        TEST + "aVmInDoubtIsNotDestroyed");
    r.implement("VM.start", c -> start(c, c.bool(1)), TEST + "aVmStartsAndStops");
    r.implement("VM.start_on", this::startOn, TEST + "aVmStartsAndStops");
    r.implement(
        "VM.pause", c -> done(() -> lifecycle.pause(c.ref(0), task(c))), TEST + "aVmPauses");
    r.implement(
        "VM.unpause", c -> done(() -> lifecycle.unpause(c.ref(0), task(c))), TEST + "aVmPauses");
    r.implement(
        "VM.clean_shutdown",
        c -> done(() -> lifecycle.cleanShutdown(c.ref(0), c.task().orElseThrow())),
        TEST + "aVmStartsAndStops");
    r.implement(
        "VM.shutdown",
        c -> done(() -> shutdown(c.ref(0), c.task().orElseThrow())),
        TEST + "aVmStartsAndStops");
    r.implement(
        "VM.hard_shutdown",
        c -> done(() -> hardShutdown(c.ref(0), task(c))),
        TEST + "aVmStartsAndStops");
    r.implement(
        "VM.power_state_reset",
        c -> done(() -> resetPowerState(c.ref(0), task(c))),
        TEST + "aVmWhoseGuestIsGoneIsHalted");
    r.implement("VM.suspend", c -> done(() -> suspend.suspend(c.ref(0), task(c))), SUSPEND_TEST);
    r.implement(
        "VM.resume",
        c -> done(() -> suspend.resume(c.ref(0), c.bool(1), c.task().orElseThrow())),
        SUSPEND_TEST);
    r.implement("VM.resume_on", this::resumeOn, SUSPEND_TEST);
    r.refuse("VM.send_sysrq", "VM.send_trigger");
    r.implement(
        "VM.clean_reboot",
        c -> done(() -> lifecycle.cleanReboot(c.ref(0), c.task().orElseThrow())),
        TEST + "aVmReboots");
    r.implement(
        "VM.hard_reboot",
        c -> done(() -> lifecycle.hardReboot(c.ref(0), task(c))),
        TEST + "aVmReboots");
    // As long as they wait for the guest.
    r.cancellable("VM.clean_shutdown", "VM.clean_reboot", "VM.shutdown");
  }

  /** Removes the VM's records; never a disk, but for the memory of a checkpoint. */
  void destroy(Ref<VM> vm, String task) throws XenApiException {
    Snapshot db = database.snapshot();
    if (db.get(vm, VM.IS_DEFAULT_TEMPLATE) || db.get(vm, VM.IS_CONTROL_DOMAIN)) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "The server needs this VM or template");
    }
    UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
    try (var operation = admission.begin(vm, VmOperations.DESTROY, task);
        Gate.Permit permit = gate.enter(uuid, Operation.DESTROY_VM)) {
      if (VmCheckpoint.isOne(database.snapshot(), vm)) {
        // Nobody else would find it.
        suspend.discard(vm);
      }
      database.change(tx -> VmRecords.delete(tx, vm));
      lifecycle.firmware().discardOrWarn(uuid);
    }
  }

  /** The same of a snapshot, with those of its disks that no other VM has. */
  public void destroyWithDisks(Ref<VM> snapshot, DiskMaker disks, String task)
      throws XenApiException {
    Snapshot db = database.snapshot();
    List<Ref<VDI>> own = new ArrayList<>();
    for (Ref<VBD> vbd : db.get(snapshot, VM.VBDS)) {
      Ref<VDI> vdi = db.get(vbd, VBD.VDI);
      if (db.get(vbd, VBD.TYPE) == VbdType.DISK
          && db.row("VDI", vdi.opaque()).isPresent()
          && db.get(vdi, VDI.VBDS).equals(List.of(vbd))) {
        own.add(vdi);
      }
    }
    destroy(snapshot, task);
    for (Ref<VDI> vdi : own) {
      disks.destroy(vdi);
    }
  }

  /** Something of the life cycle. */
  @FunctionalInterface
  private interface Step {
    void run() throws XenApiException;
  }

  private static Value done(Step step) throws XenApiException {
    step.run();
    return Value.VOID;
  }

  /** Ends the guest, or gives up the memory of one that is suspended. */
  void hardShutdown(Ref<VM> vm, String task) throws XenApiException {
    if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED) {
      suspend.shutDown(vm, task);
    } else {
      lifecycle.hardShutdown(vm, task);
    }
  }

  /** With the memory of one that is suspended. */
  private void resetPowerState(Ref<VM> vm, String task) throws XenApiException {
    if (database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.SUSPENDED) {
      suspend.shutDown(vm, task);
    } else {
      lifecycle.resetPowerState(vm, task);
    }
  }

  private Value resumeOn(Call c) throws XenApiException {
    Ref<Host> host = c.ref(1);
    c.server().db().snapshot().get(host, Host.UUID);
    suspend.resume(c.ref(0), c.bool(2), c.task().orElseThrow());
    return Value.VOID;
  }

  private Value start(Call c, boolean paused) throws XenApiException {
    lifecycle.start(c.ref(0), paused, task(c));
    return Value.VOID;
  }

  private Value startOn(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    Ref<Host> host = c.ref(1);
    c.server().db().snapshot().get(host, Host.UUID);
    lifecycle.start(vm, c.bool(2), task(c));
    return Value.VOID;
  }

  /** Asks the guest first, and ends it when it does not want to. */
  void shutdown(Ref<VM> vm, Task task) throws XenApiException {
    try {
      lifecycle.cleanShutdown(vm, task);
    } catch (XenApiException e) {
      if (!e.code().equals("VM_SHUTDOWN_TIMEOUT") && !e.code().equals("INTERNAL_ERROR")) {
        throw e;
      }
      task.pastCancelling();
      lifecycle.hardShutdown(vm, task.ref());
    }
  }

  private static String task(Call c) {
    return c.task().map(Task::ref).orElseGet(() -> Ref.random().opaque());
  }
}
