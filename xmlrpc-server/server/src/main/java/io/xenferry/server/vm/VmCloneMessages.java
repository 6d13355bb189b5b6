package io.xenferry.server.vm;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Pool;
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
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * VMs made of others. The disks are copied first and the records written in one transaction after
 * that, so that a VM is never seen with half its disks; a server that dies in between leaves copies
 * that no VM has, as plain disks of their SR.
 */
public final class VmCloneMessages {
  private static final Logger log = LoggerFactory.getLogger(VmCloneMessages.class);
  private static final String TEST = "CloneTest.";

  /** In other_config: what a template's disks shall be, until they are made. */
  static final String DISKS_KEY = "disks";

  /** In other_config of templates that come with the server; what is made of them is none. */
  private static final String DEFAULT_TEMPLATE_KEY = "default_template";

  /** In other_config of a VBD: its disk goes when the VM is uninstalled. */
  private static final String OWNER_KEY = "owner";

  private final DiskMaker disks;
  private final VmAdmission admission;

  public VmCloneMessages(DiskMaker disks, VmAdmission admission) {
    this.disks = disks;
    this.admission = admission;
  }

  public void register(Registry r) {
    r.implement(
        "VM.clone",
        c -> copy(c, VmOperations.CLONE, Optional.empty()),
        TEST + "aCloneHasDisksOfItsOwn");
    r.implement("VM.copy", this::copyTo, TEST + "aCopyGoesToTheSrThatIsNamed");
    r.implement("VM.provision", this::provision, TEST + "aTemplateDescribesItsDisks");
    r.cancellable("VM.clone", "VM.copy", "VM.provision");
  }

  private Value copyTo(Call c) throws XenApiException {
    Ref<SR> sr = c.ref(2);
    if (sr.isNull()) {
      return copy(c, VmOperations.COPY, Optional.empty());
    }
    c.server().db().snapshot().get(sr, SR.UUID);
    return copy(c, VmOperations.COPY, Optional.of(sr));
  }

  /** What was made so far; all of it goes unless it is kept. */
  private final class Made implements AutoCloseable {
    private final List<Ref<VDI>> vdis = new ArrayList<>();
    private boolean kept;

    Ref<VDI> add(Ref<VDI> vdi) {
      vdis.add(vdi);
      return vdi;
    }

    void keep() {
      kept = true;
    }

    @Override
    public void close() {
      if (kept) {
        return;
      }
      for (Ref<VDI> vdi : vdis) {
        try {
          disks.destroy(vdi);
        } catch (XenApiException e) {
          log.warn("disk {} of a VM that could not be made is left", vdi, e);
        }
      }
    }
  }

  private Value copy(Call c, VmOperations operation, Optional<Ref<SR>> sr) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    try (var running = admission.begin(vm, operation, task(c));
        Made made = new Made()) {
      Snapshot db = c.server().db().snapshot();
      Map<Ref<VBD>, Ref<VDI>> copies = new LinkedHashMap<>();
      List<Ref<VBD>> originals = new ArrayList<>();
      for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
        if (db.get(vbd, VBD.TYPE) == VbdType.DISK && !db.get(vbd, VBD.EMPTY)) {
          originals.add(vbd);
        }
      }
      Task task = c.task().orElseThrow();
      for (Ref<VBD> vbd : originals) {
        Ref<VDI> disk = db.get(vbd, VBD.VDI);
        Task step = task.step(copies.size(), originals.size());
        copies.put(vbd, made.add(disks.copy(disk, sr.orElse(db.get(disk, VDI.SR)), step)));
      }
      task.pastCancelling();
      Value copy = c.server().db().write(tx -> Value.of(records(tx, vm, c.arg(1), copies)));
      made.keep();
      return copy;
    }
  }

  private Ref<VM> records(Transaction tx, Ref<VM> vm, Value name, Map<Ref<VBD>, Ref<VDI>> copies)
      throws XenApiException {
    Map<String, Value> f = settable(tx, "VM", vm);
    f.put("name_label", name);
    f.put("domid", Value.of(-1L));
    f.put("parent", Value.of(Ref.nullRef()));
    // Of a snapshot with memory: that is no other VM's.
    f.put("power_state", Value.of(VmPowerState.HALTED.wire()));
    f.put("suspend_VDI", Value.of(Ref.nullRef()));
    VmRecords.standAlone(f);
    f.put("bios_strings", Value.ofTexts(tx.get(vm, VM.BIOS_STRINGS)));
    Map<String, String> config = new LinkedHashMap<>(tx.get(vm, VM.OTHER_CONFIG));
    config.remove(DEFAULT_TEMPLATE_KEY);
    f.put("other_config", Value.ofTexts(config));
    f.put(
        "metrics",
        Value.of(
            tx.create(
                "VM_metrics",
                Map.of(
                    "install_time",
                    Value.of(Instant.now()),
                    "VCPUs_number",
                    Value.of(tx.get(vm, VM.VCPUS_AT_STARTUP)),
                    "memory_actual",
                    Value.of(tx.get(vm, VM.MEMORY_STATIC_MAX))))));
    Ref<VM> copy = new Ref<>(tx.create("VM", f));
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      Map<String, Value> v = settable(tx, "VBD", vbd);
      v.put("VM", Value.of(copy));
      v.put("currently_attached", Value.of(false));
      v.put("device", Value.of(tx.get(vbd, VBD.DEVICE)));
      Ref<VDI> disk = copies.get(vbd);
      if (disk != null) {
        v.put("VDI", Value.of(disk));
      } else if (tx.get(vbd, VBD.TYPE) == VbdType.DISK && !tx.get(vbd, VBD.EMPTY)) {
        continue; // added since the disks were copied
      }
      tx.create("VBD", v);
    }
    for (Ref<VIF> vif : tx.get(vm, VM.VIFS)) {
      Map<String, Value> v = settable(tx, "VIF", vif);
      v.put("VM", Value.of(copy));
      v.put("MAC", Value.of(MacAddress.random()));
      v.put("MAC_autogenerated", Value.of(true));
      tx.create("VIF", v);
    }
    Optional<Vtpms.Tpm> tpm = Vtpms.of(tx, vm);
    if (tpm.isPresent()) {
      Vtpms.create(tx, copy, tpm.get().forCopy());
    }
    admission.refresh(tx, copy);
    return copy;
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

  /** Makes the disks that the template describes, and a VM of it. */
  private Value provision(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    try (var running = admission.begin(vm, VmOperations.PROVISION, task(c));
        Made made = new Made()) {
      Snapshot db = c.server().db().snapshot();
      String description = db.get(vm, VM.OTHER_CONFIG).getOrDefault(DISKS_KEY, "");
      Map<ProvisionDisk, Ref<VDI>> wanted = new LinkedHashMap<>();
      for (ProvisionDisk disk : ProvisionDisk.parse(description)) {
        Ref<SR> sr = sr(db, disk.sr());
        String name = db.get(vm, VM.NAME_LABEL) + " " + disk.device();
        wanted.put(disk, made.add(disks.create(sr, name, disk.type(), disk.size())));
        c.task().orElseThrow().throwIfCancelled();
      }
      c.task().orElseThrow().pastCancelling();
      c.server().db().change(tx -> provisioned(tx, vm, wanted));
      made.keep();
      return Value.VOID;
    }
  }

  private void provisioned(Transaction tx, Ref<VM> vm, Map<ProvisionDisk, Ref<VDI>> wanted)
      throws XenApiException {
    for (Map.Entry<ProvisionDisk, Ref<VDI>> e : wanted.entrySet()) {
      ProvisionDisk disk = e.getKey();
      for (Ref<VBD> other : tx.get(vm, VM.VBDS)) {
        if (tx.get(other, VBD.USERDEVICE).equals(disk.device())) {
          throw new XenApiException("DEVICE_ALREADY_EXISTS", disk.device());
        }
      }
      Map<String, Value> vbd = new LinkedHashMap<>();
      vbd.put("VM", Value.of(vm));
      vbd.put("VDI", Value.of(e.getValue()));
      vbd.put("userdevice", Value.of(disk.device()));
      vbd.put("device", Value.of(GuestSpecs.device("", disk.device())));
      vbd.put("bootable", Value.of(disk.bootable()));
      vbd.put("mode", Value.of("RW"));
      vbd.put("type", Value.of("Disk"));
      vbd.put("unpluggable", Value.of(true));
      vbd.put("empty", Value.of(false));
      vbd.put("other_config", Value.ofTexts(Map.of(OWNER_KEY, "")));
      tx.create("VBD", vbd);
    }
    Map<String, String> config = new LinkedHashMap<>(tx.get(vm, VM.OTHER_CONFIG));
    config.remove(DISKS_KEY);
    tx.set(vm, VM.OTHER_CONFIG, config);
    tx.set(vm, VM.IS_A_TEMPLATE, false);
    admission.refresh(tx, vm);
  }

  /** By uuid or name; the pool's default SR where none is named. */
  private static Ref<SR> sr(Snapshot db, String named) throws XenApiException {
    if (named.isEmpty()) {
      Ref<SR> standard =
          db.get(new Ref<Pool>(db.rows("pool").iterator().next().ref()), Pool.DEFAULT_SR);
      if (db.row("SR", standard.opaque()).isEmpty()) {
        throw new XenApiException("DEFAULT_SR_NOT_FOUND", standard.opaque());
      }
      return standard;
    }
    return new Ref<>(
        db.byUuid("SR", named)
            .orElseThrow(() -> new XenApiException("UUID_INVALID", "SR", named))
            .ref());
  }

  private static String task(Call c) {
    return c.task().map(Task::ref).orElseGet(() -> Ref.random().opaque());
  }
}
