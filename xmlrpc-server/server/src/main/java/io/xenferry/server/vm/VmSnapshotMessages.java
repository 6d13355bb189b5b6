package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VbdType;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Snapshots of VMs, and back to them. Of a running VM all disks are taken at one instant of the
 * guest. Records are written in one transaction after the disks are there, so that neither a
 * snapshot nor a VM is ever seen with half its disks; a server that dies in between leaves disks
 * that no VM has.
 */
public final class VmSnapshotMessages {
  private static final Logger log = LoggerFactory.getLogger(VmSnapshotMessages.class);
  private static final String TEST = "SnapshotTest.";
  private static final String CHECKPOINT_TEST = "CheckpointTest.";

  /** What a VM keeps when it goes back. */
  private static final Set<String> KEPT =
      Set.of(
          "uuid",
          "name_label",
          "name_description",
          "tags",
          "is_a_template",
          "is_default_template",
          "blocked_operations",
          "affinity",
          "appliance",
          "snapshot_schedule",
          "is_vmss_snapshot");

  private final ObjectDatabase database;
  private final DiskMaker disks;
  private final SnapshotDisks snapshots;
  private final VmCheckpoint checkpoints;
  private final VmSuspend suspend;
  private final VmLifecycle lifecycle;
  private final VmAdmission admission;
  private final Gate gate;

  public VmSnapshotMessages(
      ObjectDatabase database,
      DiskMaker disks,
      SnapshotDisks snapshots,
      VmCheckpoint checkpoints,
      VmSuspend suspend,
      VmLifecycle lifecycle,
      VmAdmission admission,
      Gate gate) {
    this.database = database;
    this.disks = disks;
    this.snapshots = snapshots;
    this.checkpoints = checkpoints;
    this.suspend = suspend;
    this.lifecycle = lifecycle;
    this.admission = admission;
    this.gate = gate;
  }

  public void register(Registry r) {
    r.implement("VM.snapshot", this::snapshot, TEST + "aHaltedVmIsSnapshotAndGoesBack");
    r.cancellable("VM.snapshot", "VDI.snapshot");
    r.implement("VM.checkpoint", this::checkpoint, CHECKPOINT_TEST + "aRunningVmGoesBackInMemory");
    r.implement("VM.revert", this::revert, TEST + "aHaltedVmIsSnapshotAndGoesBack");
    r.implement("VDI.snapshot", this::snapshotDisk, TEST + "aDiskIsSnapshotByItself");
    r.implement("VDI.resize_online", this::resizeOnline, TEST + "aDiskGrowsOnline");
  }

  private static String task(Call c) {
    return c.task().map(Task::ref).orElseGet(() -> Ref.random().opaque());
  }

  // ---- taking one

  private Value snapshot(Call c) throws XenApiException {
    return Value.of(
        snapshot(c.ref(0), c.text(1), Set.copyOf(c.texts(2)), false, c.task().orElseThrow()));
  }

  private Ref<VM> snapshot(
      Ref<VM> vm, String name, Set<String> ignored, boolean scheduled, Task task)
      throws XenApiException {
    try (var running = admission.begin(vm, VmOperations.SNAPSHOT, task.ref());
        Gate.Permit permit = gate.enter(uuid(vm), Operation.CHANGE_DEVICE)) {
      Snapshot db = database.snapshot();
      List<Ref<VBD>> vbds = new ArrayList<>();
      for (Ref<VBD> vbd : disksOf(db, vm)) {
        if (!ignored.contains(db.get(vbd, VBD.VDI).opaque())) {
          vbds.add(vbd);
        }
      }
      Map<Ref<VBD>, Ref<VDI>> taken = snapshots.take(vm, vbds, task);
      boolean done = false;
      try {
        lifecycle.firmware().note(vm);
        Ref<VM> made = database.write(tx -> record(tx, vm, name, scheduled, taken));
        done = true;
        return made;
      } finally {
        if (!done) {
          taken.values().forEach(this::takeBack);
        }
      }
    }
  }

  private Value checkpoint(Call c) throws XenApiException {
    return Value.of(checkpoint(c.ref(0), c.text(1), false, c.task().orElseThrow()));
  }

  private Ref<VM> checkpoint(Ref<VM> vm, String name, boolean scheduled, Task task)
      throws XenApiException {
    // Who stops the guest must be able to let it go on.
    try (var running = admission.begin(vm, VmOperations.CHECKPOINT, task.ref());
        Gate.Permit permit = gate.enter(uuid(vm), Operation.UNPAUSE);
        Gate.Permit pausing = gate.enter(uuid(vm), Operation.PAUSE)) {
      List<Ref<VBD>> vbds = disksOf(database.snapshot(), vm);
      VmCheckpoint.Taken taken = checkpoints.take(vm, vbds, task);
      boolean done = false;
      try {
        lifecycle.firmware().note(vm);
        Ref<VM> made =
            database.write(tx -> {
              Ref<VM> snapshot = record(tx, vm, name, scheduled, taken.disks());
              VmCheckpoint.record(tx, vm, snapshot, taken.memory());
              admission.refresh(tx, snapshot);
              return snapshot;
            });
        done = true;
        return made;
      } finally {
        if (!done) {
          taken.disks().values().forEach(this::takeBack);
          suspend.discard(vm);
        }
      }
    }
  }

  /**
   * Takes a snapshot that a schedule wants.
   *
   * @param memory with the memory of a guest that runs; others have none
   */
  public Ref<VM> takeScheduled(Ref<VM> vm, String name, boolean memory, Task task)
      throws XenApiException {
    return memory && database.snapshot().get(vm, VM.POWER_STATE) == VmPowerState.RUNNING
        ? checkpoint(vm, name, true, task)
        : snapshot(vm, name, Set.of(), true, task);
  }

  private void takeBack(Ref<VDI> vdi) {
    try {
      disks.destroy(vdi);
    } catch (XenApiException e) {
      log.warn("disk {} of a snapshot that could not be made is left", vdi, e);
    }
  }

  private UUID uuid(Ref<VM> vm) throws XenApiException {
    return UUID.fromString(database.snapshot().get(vm, VM.UUID));
  }

  /** The VBDs of disks, not those of CDs and empty drives. */
  private static List<Ref<VBD>> disksOf(Snapshot db, Ref<VM> vm) throws XenApiException {
    List<Ref<VBD>> found = new ArrayList<>();
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (db.get(vbd, VBD.TYPE) == VbdType.DISK
          && !db.get(vbd, VBD.EMPTY)
          && !db.get(vbd, VBD.VDI).isNull()) {
        found.add(vbd);
      }
    }
    return found;
  }

  private Ref<VM> record(
      Transaction tx, Ref<VM> vm, String name, boolean scheduled, Map<Ref<VBD>, Ref<VDI>> taken)
      throws XenApiException {
    Map<String, Value> f = settable(tx, "VM", vm);
    f.put("name_label", Value.of(name));
    VmRecords.standAlone(f);
    f.put("bios_strings", Value.ofTexts(tx.get(vm, VM.BIOS_STRINGS)));
    f.put("is_vmss_snapshot", Value.of(scheduled));
    f.put("is_a_template", Value.of(true));
    f.put("is_a_snapshot", Value.of(true));
    f.put("snapshot_of", Value.of(vm));
    f.put("snapshot_time", Value.of(Instant.now()));
    VmPowerState state = tx.get(vm, VM.POWER_STATE);
    f.put(
        "snapshot_info",
        Value.ofTexts(
            Map.of(
                "power-state-at-snapshot",
                state.wire(),
                "disk-snapshot-type",
                state == VmPowerState.HALTED ? "" : "crash_consistent")));
    f.put("power_state", Value.of(VmPowerState.HALTED.wire()));
    f.put("suspend_VDI", Value.of(Ref.nullRef()));
    f.put("domid", Value.of(-1L));
    f.put("blocked_operations", Value.Struct.of(Map.of()));
    f.put("parent", Value.of(tx.get(vm, VM.PARENT)));
    Ref<VM> snapshot = new Ref<>(tx.create("VM", f));
    VmRecords.addMetrics(tx, snapshot);
    copyTpm(tx, vm, snapshot);
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      boolean disk = tx.get(vbd, VBD.TYPE) == VbdType.DISK && !tx.get(vbd, VBD.EMPTY);
      if (!disk || taken.containsKey(vbd)) {
        copyVbd(tx, vbd, snapshot, disk ? taken.get(vbd) : tx.get(vbd, VBD.VDI));
      }
    }
    copyVifs(tx, vm, snapshot);
    tx.set(vm, VM.PARENT, snapshot);
    admission.refresh(tx, snapshot);
    return snapshot;
  }

  private static void copyVbd(
      Transaction tx, Ref<VBD> vbd, Ref<VM> to, @org.jspecify.annotations.Nullable Ref<VDI> vdi)
      throws XenApiException {
    Map<String, Value> v = settable(tx, "VBD", vbd);
    v.put("VM", Value.of(to));
    v.put("VDI", Value.of(vdi == null ? Ref.nullRef() : vdi));
    v.put("currently_attached", Value.of(false));
    v.put("device", Value.of(tx.get(vbd, VBD.DEVICE)));
    tx.create("VBD", v);
  }

  /** With what it keeps: it is one VM. */
  private static void copyTpm(Transaction tx, Ref<VM> from, Ref<VM> to) throws XenApiException {
    Optional<Vtpms.Tpm> tpm = Vtpms.of(tx, from);
    if (tpm.isPresent()) {
      Vtpms.create(tx, to, tpm.get());
    }
  }

  /** With their addresses: it is one VM, and only one of the two runs. */
  private static void copyVifs(Transaction tx, Ref<VM> from, Ref<VM> to) throws XenApiException {
    for (Ref<VIF> vif : tx.get(from, VM.VIFS)) {
      Map<String, Value> v = settable(tx, "VIF", vif);
      v.put("VM", Value.of(to));
      v.put("currently_attached", Value.of(false));
      tx.create("VIF", v);
    }
  }

  private static Map<String, Value> settable(Transaction tx, String className, Ref<?> ref)
      throws XenApiException {
    Row row =
        tx.row(className, ref.opaque())
            .orElseThrow(() -> new XenApiException("HANDLE_INVALID", className, ref.opaque()));
    Map<String, Value> fields = new LinkedHashMap<>();
    for (FieldDef d : DataModel.classDef(className).constructorFields()) {
      fields.put(d.name(), row.get(d));
    }
    return fields;
  }

  // ---- going back

  /**
   * The disks of the snapshot are cloned, and the VM has the clones from one instant on. Disks that
   * it has got since the snapshot are no longer its own, and stay where they are.
   */
  private Value revert(Call c) throws XenApiException {
    Ref<VM> snapshot = c.ref(0);
    Snapshot db = c.server().db().snapshot();
    if (!db.get(snapshot, VM.IS_A_SNAPSHOT)) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "the VM is no snapshot");
    }
    Ref<VM> vm = db.get(snapshot, VM.SNAPSHOT_OF);
    if (db.row("VM", vm.opaque()).isEmpty()) {
      throw new XenApiException("VM_REVERT_FAILED", vm.opaque(), snapshot.opaque());
    }
    if (VmCheckpoint.isOne(db, snapshot)
        && db.row("VDI", db.get(snapshot, VM.SUSPEND_VDI).opaque()).isEmpty()) {
      // Before anything is stopped: whoever destroyed it had its reference.
      throw new XenApiException("VM_HAS_NO_SUSPEND_VDI", snapshot.opaque());
    }
    switch (db.get(vm, VM.POWER_STATE)) {
      case HALTED -> {}
      case SUSPENDED -> suspend.shutDown(vm, task(c));
      case RUNNING, PAUSED -> lifecycle.hardShutdown(vm, task(c));
    }
    try (var one = admission.begin(snapshot, VmOperations.REVERT, task(c));
        var other = admission.begin(vm, VmOperations.REVERTING, task(c));
        Gate.Permit permit = gate.enter(uuid(vm), Operation.CHANGE_DEVICE)) {
      lifecycle.firmware().take(vm);
      List<Ref<VDI>> replaced = revert(c, vm, snapshot);
      for (Ref<VDI> old : replaced) {
        takeBack(old);
      }
    }
    return Value.VOID;
  }

  private List<Ref<VDI>> revert(Call c, Ref<VM> vm, Ref<VM> snapshot) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Map<Ref<VBD>, Ref<VDI>> clones = new LinkedHashMap<>();
    Optional<Ref<VDI>> memory = Optional.empty();
    boolean done = false;
    try {
      for (Ref<VBD> vbd : disksOf(db, snapshot)) {
        clones.put(vbd, copyOf(c, db.get(vbd, VBD.VDI)));
      }
      if (VmCheckpoint.isOne(db, snapshot)) {
        memory = Optional.of(copyOf(c, db.get(snapshot, VM.SUSPEND_VDI)));
      }
      Ref<VDI> image = memory.orElse(Ref.nullRef());
      List<Ref<VDI>> replaced = new ArrayList<>();
      c.server()
          .db()
          .change(tx -> {
            goBack(tx, vm, snapshot, clones, replaced);
            if (!image.isNull()) {
              tx.set(vm, VM.POWER_STATE, VmPowerState.SUSPENDED);
              tx.set(vm, VM.SUSPEND_VDI, image);
            }
            admission.refresh(tx, vm);
          });
      done = true;
      return replaced;
    } finally {
      if (!done) {
        clones.values().forEach(this::takeBack);
        memory.ifPresent(this::takeBack);
      }
    }
  }

  private Ref<VDI> copyOf(Call c, Ref<VDI> disk) throws XenApiException {
    Ref<SR> sr = c.server().db().snapshot().get(disk, VDI.SR);
    return disks.copy(disk, sr, c.task().orElseThrow());
  }

  private void goBack(
      Transaction tx,
      Ref<VM> vm,
      Ref<VM> snapshot,
      Map<Ref<VBD>, Ref<VDI>> clones,
      List<Ref<VDI>> replaced)
      throws XenApiException {
    List<Ref<VDI>> had = new ArrayList<>();
    for (Ref<VBD> vbd : List.copyOf(tx.get(vm, VM.VBDS))) {
      if (tx.get(vbd, VBD.TYPE) == VbdType.DISK && !tx.get(vbd, VBD.EMPTY)) {
        had.add(tx.get(vbd, VBD.VDI));
      }
      tx.delete("VBD", vbd.opaque());
    }
    for (Ref<VIF> vif : List.copyOf(tx.get(vm, VM.VIFS))) {
      tx.delete("VIF", vif.opaque());
    }
    for (Map.Entry<String, Value> e : settable(tx, "VM", snapshot).entrySet()) {
      if (!KEPT.contains(e.getKey())) {
        tx.set("VM", vm.opaque(), DataModel.field("VM", e.getKey()).orElseThrow(), e.getValue());
      }
    }
    for (Ref<VBD> vbd : tx.get(snapshot, VM.VBDS)) {
      Ref<VDI> clone = clones.get(vbd);
      copyVbd(tx, vbd, vm, clone == null ? tx.get(vbd, VBD.VDI) : clone);
      if (clone != null) {
        Ref<VDI> original = tx.get(tx.get(vbd, VBD.VDI), VDI.SNAPSHOT_OF);
        if (had.contains(original)) {
          for (Ref<VDI> sibling : List.copyOf(tx.get(original, VDI.SNAPSHOTS))) {
            tx.set(sibling, VDI.SNAPSHOT_OF, clone);
          }
          tx.set(clone, VDI.OTHER_CONFIG, tx.get(original, VDI.OTHER_CONFIG));
          replaced.add(original);
        }
      }
    }
    copyVifs(tx, snapshot, vm);
    Vtpms.delete(tx, vm);
    copyTpm(tx, snapshot, vm);
    tx.set(vm, VM.PARENT, snapshot);
  }

  // ---- disks by themselves

  private Value snapshotDisk(Call c) throws XenApiException {
    return Value.of(snapshots.take(c.<VDI>ref(0), c.task().orElseThrow()));
  }

  private Value resizeOnline(Call c) throws XenApiException {
    Ref<VDI> vdi = c.ref(0);
    long now = c.server().db().snapshot().get(vdi, VDI.VIRTUAL_SIZE);
    if (c.integer(1) < now) {
      throw new XenApiException(
          "INVALID_VALUE", "size", c.integer(1) + " is less than the disk's " + now);
    }
    snapshots.resize(vdi, c.integer(1));
    return Value.VOID;
  }
}
