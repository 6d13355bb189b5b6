package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.console.ConsoleRecords;
import java.util.Map;

/** The records that make up a VM, made and removed together. */
public final class VmRecords {
  /** In other_config of a VM that is not, or not yet, this host's: the migration it belongs to. */
  public static final String MIGRATION_KEY = "xenferry:migration";

  /** Beside it: the references of the messages about the VM that it has brought, with spaces. */
  public static final String MESSAGES_KEY = "xenferry:migration-messages";

  /** Beside it: the machine of a guest that is to arrive running, {@link BuiltMachine#json}. */
  public static final String MACHINE_KEY = "xenferry:migration-machine";

  /** Beside it: what {@link #HIDDEN_KEY} was at the source. */
  public static final String HIDDEN_BEFORE_KEY = "xenferry:migration-hidden-before";

  /** The key by which published clients know a VM that is not to be shown. */
  public static final String HIDDEN_KEY = "HideFromXenCenter";

  /** In VM.last_boot_CPU_flags and host.cpu_info: whose processor it is. */
  public static final String CPU_VENDOR = "vendor";

  /** At the same places: which one it is, in its maker's words. */
  public static final String CPU_MODEL = "modelname";

  private VmRecords() {}

  /** Gives the VM a metrics record, which clients expect of every VM. */
  public static void addMetrics(Transaction tx, Ref<VM> vm) throws XenApiException {
    String metrics = tx.create("VM_metrics", Map.of());
    tx.set(vm, VM.METRICS, new Ref<VMMetrics>(metrics));
  }

  /** Of the fields of a VM that is made of another: it belongs to no appliance and no schedule. */
  static void standAlone(Map<String, Value> fields) {
    fields.put("appliance", Value.of(Ref.nullRef()));
    fields.put("snapshot_schedule", Value.of(Ref.nullRef()));
    fields.put("is_vmss_snapshot", Value.of(false));
  }

  /**
   * Removes the VM with its VBDs, VIFs, consoles and metrics; its disks stay. What was made of a
   * snapshot that goes is a child of the snapshot before; its own snapshots are nobody's.
   */
  public static void delete(Transaction tx, Ref<VM> vm) throws XenApiException {
    for (Ref<VM> child : java.util.List.copyOf(tx.get(vm, VM.CHILDREN))) {
      tx.set(child, VM.PARENT, tx.get(vm, VM.PARENT));
    }
    for (Ref<VM> snapshot : java.util.List.copyOf(tx.get(vm, VM.SNAPSHOTS))) {
      tx.set(snapshot, VM.SNAPSHOT_OF, Ref.nullRef());
    }
    ConsoleRecords.disappear(tx, vm);
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      tx.delete("VBD", vbd.opaque());
    }
    for (Ref<VIF> vif : tx.get(vm, VM.VIFS)) {
      tx.delete("VIF", vif.opaque());
    }
    for (var field : new io.xenferry.model.FieldDef[] {VM.METRICS.def(), VM.GUEST_METRICS.def()}) {
      Value ref = tx.row("VM", vm.opaque()).orElseThrow().get(field);
      if (ref instanceof Value.Text(String text)) {
        String className = ((io.xenferry.model.Type.RefTo) field.type()).className();
        if (tx.row(className, text).isPresent()) {
          tx.delete(className, text);
        }
      }
    }
    Vtpms.delete(tx, vm);
    tx.delete("VM", vm.opaque());
  }
}
