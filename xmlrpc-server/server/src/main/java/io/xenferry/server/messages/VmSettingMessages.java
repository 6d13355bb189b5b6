package io.xenferry.server.messages;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMGroup;
import io.xenferry.model.VMMetrics;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;

/** Settings of VMs that are more than a word, and less than a change of the machine. */
final class VmSettingMessages {
  private static final String TEST = "VmSettingsTest.";

  /** In other_config of default templates, by which clients know them. */
  private static final String DEFAULT_TEMPLATE = "default_template";

  private final AllowedOperations allowed;
  private final Schema schema = new Schema();

  VmSettingMessages(AllowedOperations allowed) {
    this.allowed = allowed;
  }

  void register(Registry r) {
    r.implement(
        "VM.set_is_default_template",
        this::setIsDefaultTemplate,
        TEST + "aVmBecomesADefaultTemplate");
    r.implement(
        "VM.set_has_vendor_device", this::setHasVendorDevice, TEST + "thereIsNoVendorDevice");
    r.implement("VM.get_boot_record", this::bootRecord, TEST + "aBootRecordTellsWhatRuns");
    r.implement("VM.set_groups", this::setGroups, TEST + "aVmIsInOneGroup");
    r.implement("VM_group.destroy", this::destroyGroup, TEST + "aVmIsInOneGroup");
  }

  private Value setIsDefaultTemplate(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          requireHalted(tx, vm);
          if (tx.get(vm, VM.IS_CONTROL_DOMAIN)) {
            throw new XenApiException("OPERATION_NOT_ALLOWED", "a control domain is no template");
          }
          if (tx.get(vm, VM.IS_A_SNAPSHOT)) {
            throw new XenApiException("VM_IS_SNAPSHOT", vm.opaque(), "make_into_template");
          }
          Map<String, String> config = new LinkedHashMap<>(tx.get(vm, VM.OTHER_CONFIG));
          if (c.bool(1)) {
            tx.set(vm, VM.IS_A_TEMPLATE, true);
            config.put(DEFAULT_TEMPLATE, "true");
          } else {
            config.remove(DEFAULT_TEMPLATE);
          }
          tx.set(vm, VM.OTHER_CONFIG, config);
          tx.set(vm, VM.IS_DEFAULT_TEMPLATE, c.bool(1));
          allowed.refresh(tx, vm.opaque());
        });
    return Value.VOID;
  }

  private static void requireHalted(Transaction tx, Ref<VM> vm) throws XenApiException {
    VmPowerState state = tx.get(vm, VM.POWER_STATE);
    if (state != VmPowerState.HALTED) {
      throw new XenApiException(
          "VM_BAD_POWER_STATE", vm.opaque(), "halted", state.wire().toLowerCase(Locale.ROOT));
    }
  }

  /** No machine here has one: what says otherwise of older records may be put right. */
  private Value setHasVendorDevice(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          requireHalted(tx, vm);
          if (c.bool(1)) {
            throw new XenApiException("LICENCE_RESTRICTION", "PCI_device_for_auto_update");
          }
          tx.set(vm, VM.HAS_VENDOR_DEVICE, false);
        });
    return Value.VOID;
  }

  /** The record, with the processors that a guest which runs has now. */
  private Value bootRecord(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<VM> vm = c.ref(0);
    Row row = Schema.row(db, "VM", vm.opaque());
    SequencedMap<String, Value> members = new LinkedHashMap<>(schema.record(row).members());
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    Ref<VMMetrics> metrics = db.get(vm, VM.METRICS);
    if (state != VmPowerState.HALTED && db.row("VM_metrics", metrics.opaque()).isPresent()) {
      members.put("VCPUs_at_startup", Value.of(db.get(metrics, VMMetrics.VCPUS_NUMBER)));
    }
    return new Value.Struct(members);
  }

  /** Of one group at most, as published servers want it. */
  private Value setGroups(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    List<String> groups = c.texts(1).stream().distinct().toList();
    c.server()
        .db()
        .change(tx -> {
          if (tx.get(vm, VM.IS_CONTROL_DOMAIN)) {
            throw new XenApiException(
                "OPERATION_NOT_ALLOWED", "a control domain belongs to no group");
          }
          for (String group : groups) {
            Schema.row(tx, "VM_group", group);
          }
          if (groups.size() > 1) {
            throw new XenApiException("TOO_MANY_GROUPS");
          }
          List<Ref<VMGroup>> wanted = new ArrayList<>();
          groups.forEach(group -> wanted.add(Ref.of(group)));
          tx.set(vm, VM.GROUPS, wanted);
        });
    return Value.VOID;
  }

  private Value destroyGroup(Call c) throws XenApiException {
    Ref<VMGroup> group = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          tx.get(group, VMGroup.UUID);
          tx.set(group, VMGroup.VMS, List.of());
          tx.delete("VM_group", group.opaque());
        });
    return Value.VOID;
  }
}
