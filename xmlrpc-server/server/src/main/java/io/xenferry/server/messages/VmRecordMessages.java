package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** VMs as far as they are records: everything here needs a halted one. */
final class VmRecordMessages {
  private static final String TEST = "RecordsTest.haltedVmsAreRecords";

  private final AllowedOperations allowed;
  private final Schema schema = new Schema();

  VmRecordMessages(AllowedOperations allowed) {
    this.allowed = allowed;
  }

  void register(Registry r) {
    r.implement("VM.create", this::create, TEST);
    r.implement("VM.destroy", this::destroy, TEST);
    r.implement("VM.clone", this::cloneDiskless, TEST);
    r.implement("VM.provision", this::provision, TEST);
    r.implement("VM.set_is_a_template", this::setIsATemplate, TEST);
    r.implement(
        "VM.get_allowed_VBD_devices",
        c -> freeDevices(c, "VBD", "userdevice", VbdMessages.DEVICES),
        TEST);
    r.implement("VM.get_allowed_VIF_devices", c -> freeDevices(c, "VIF", "device", 7), TEST);
    r.implement("VM.update_allowed_operations", this::updateAllowed, TEST);
    r.implement("VM.assert_operation_valid", this::assertOperationValid, TEST);
    r.implement("VM.compute_memory_overhead", c -> Value.of(0L), TEST);
    for (String f : List.of("static_max", "static_min", "dynamic_max", "dynamic_min")) {
      r.implement(
          "VM.set_memory_" + f, c -> setMemory(c, Map.of("memory_" + f, c.integer(1))), TEST);
    }
    r.implement(
        "VM.set_memory_static_range",
        c ->
            setMemory(
                c, Map.of("memory_static_min", c.integer(1), "memory_static_max", c.integer(2))),
        TEST);
    r.implement(
        "VM.set_memory_dynamic_range",
        c ->
            setMemory(
                c, Map.of("memory_dynamic_min", c.integer(1), "memory_dynamic_max", c.integer(2))),
        TEST);
    r.implement(
        "VM.set_memory_limits",
        c ->
            setMemory(
                c,
                Map.of(
                    "memory_static_min", c.integer(1),
                    "memory_static_max", c.integer(2),
                    "memory_dynamic_min", c.integer(3),
                    "memory_dynamic_max", c.integer(4))),
        TEST);
    r.implement(
        "VM.set_memory",
        c ->
            setMemory(
                c,
                Map.of(
                    "memory_static_max", c.integer(1),
                    "memory_dynamic_min", c.integer(1),
                    "memory_dynamic_max", c.integer(1))),
        TEST);
    r.implement("VM.set_VCPUs_max", c -> setVcpus(c, "VCPUs_max"), TEST);
    r.implement("VM.set_VCPUs_at_startup", c -> setVcpus(c, "VCPUs_at_startup"), TEST);
  }

  private Value create(Call c) throws XenApiException {
    Map<String, Value> f = Accessors.constructorFields(DataModel.classDef("VM"), c.members(0));
    String state = ((Value.Text) f.getOrDefault("power_state", Value.of("Halted"))).text();
    if (!state.equals("Halted") && !state.equals("Suspended")) {
      throw new XenApiException("VM_BAD_POWER_STATE", Ref.nullRef().opaque(), "halted", state);
    }
    requireMemoryOrder(f);
    requireVcpus(f);
    f.put("domid", Value.of(-1L));
    return c.server()
        .db()
        .write(tx -> {
          f.put("metrics", Value.of(createMetrics(tx, f)));
          String ref = tx.create("VM", f);
          allowed.refresh(tx, ref);
          return Value.of(ref);
        });
  }

  private static String createMetrics(Transaction tx, Map<String, Value> vm)
      throws XenApiException {
    Map<String, Value> f = new LinkedHashMap<>();
    f.put("VCPUs_number", vm.getOrDefault("VCPUs_at_startup", Value.of(1L)));
    f.put("memory_actual", vm.getOrDefault("memory_static_max", Value.of(0L)));
    return tx.create("VM_metrics", f);
  }

  /** Those among the given fields must be in order; the rest of the row is the caller's. */
  private static void requireMemoryOrder(Map<String, Value> f) throws XenApiException {
    long last = 0;
    for (String name :
        List.of(
            "memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max")) {
      long bytes = f.get(name) instanceof Value.Int(long i) ? i : 0;
      if (bytes < last) {
        throw new XenApiException(
            "MEMORY_CONSTRAINT_VIOLATION",
            "static_min <= dynamic_min <= dynamic_max <= static_max");
      }
      last = bytes;
    }
  }

  private static void requireVcpus(Map<String, Value> f) throws XenApiException {
    long max = f.get("VCPUs_max") instanceof Value.Int(long i) ? i : 0;
    long start = f.get("VCPUs_at_startup") instanceof Value.Int(long i) ? i : 0;
    if (max < 1 || max > 254) {
      throw new XenApiException("INVALID_VALUE", "VCPUs_max", Long.toString(max));
    }
    if (start < 1 || start > max) {
      throw new XenApiException("INVALID_VALUE", "VCPUs_at_startup", Long.toString(start));
    }
  }

  private Value destroy(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          if (schema.bool(vm, "is_control_domain") || schema.bool(vm, "is_default_template")) {
            throw new XenApiException(
                "OPERATION_NOT_ALLOWED", "The server needs this VM or template");
          }
          requireHalted(vm);
          deleteRecords(tx, vm);
        });
    return Value.VOID;
  }

  /** The VM and what is nothing without it; never a disk. */
  private void deleteRecords(Transaction tx, Row vm) throws XenApiException {
    for (String set : List.of("VBDs", "VIFs", "consoles")) {
      for (String ref : schema.texts(vm, set)) {
        tx.delete(
            switch (set) {
              case "VBDs" -> "VBD";
              case "VIFs" -> "VIF";
              default -> "console";
            },
            ref);
      }
    }
    for (String metrics : List.of("metrics", "guest_metrics")) {
      String className = metrics.equals("metrics") ? "VM_metrics" : "VM_guest_metrics";
      String ref = schema.text(vm, metrics);
      if (tx.row(className, ref).isPresent()) {
        tx.delete(className, ref);
      }
    }
    tx.delete("VM", vm.ref());
  }

  /** Of a VM or template with no disks; with disks it is the storage driver's affair, too. */
  private Value cloneDiskless(Call c) throws XenApiException {
    return c.server()
        .db()
        .write(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          requireHalted(vm);
          for (String vbd : schema.texts(vm, "VBDs")) {
            if (schema.text(Schema.row(tx, "VBD", vbd), "type").equals("Disk")) {
              throw new XenApiException("NOT_IMPLEMENTED", "VM.clone of a VM with disks");
            }
          }
          Map<String, Value> f = new LinkedHashMap<>();
          for (FieldDef d : DataModel.classDef("VM").constructorFields()) {
            f.put(d.name(), vm.get(d));
          }
          f.put("name_label", c.arg(1));
          f.put("domid", Value.of(-1L));
          f.put("metrics", Value.of(createMetrics(tx, f)));
          f.put("parent", Value.of(Ref.nullRef()));
          String copy = tx.create("VM", f);
          for (String vif : schema.texts(vm, "VIFs")) {
            Map<String, Value> v = new LinkedHashMap<>();
            Row row = Schema.row(tx, "VIF", vif);
            for (FieldDef d : DataModel.classDef("VIF").constructorFields()) {
              v.put(d.name(), row.get(d));
            }
            v.put("VM", Value.of(copy));
            v.put("MAC", Value.of(VifMessages.randomMac()));
            v.put("MAC_autogenerated", Value.of(true));
            tx.create("VIF", v);
          }
          allowed.refresh(tx, copy);
          return Value.of(copy);
        });
  }

  private Value provision(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          String disks = schema.textMap(vm, "other_config").getOrDefault("disks", "");
          if (disks.contains("<disk")) {
            throw new XenApiException("NOT_IMPLEMENTED", "VM.provision with disks");
          }
          schema.set(tx, "VM", vm.ref(), "is_a_template", Value.of(false));
          allowed.refresh(tx, vm.ref());
        });
    return Value.VOID;
  }

  private Value setIsATemplate(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          requireHalted(vm);
          schema.set(tx, "VM", vm.ref(), "is_a_template", c.arg(1));
          allowed.refresh(tx, vm.ref());
        });
    return Value.VOID;
  }

  private Value freeDevices(Call c, String className, String field, int count)
      throws XenApiException {
    var snapshot = c.server().db().snapshot();
    Row vm = Schema.row(snapshot, "VM", c.text(0));
    List<String> taken =
        schema.texts(vm, className + "s").stream()
            .flatMap(ref -> snapshot.row(className, ref).stream())
            .map(row -> schema.text(row, field))
            .toList();
    return Value.ofTexts(
        IntStream.range(0, count)
            .mapToObj(Integer::toString)
            .filter(d -> !taken.contains(d))
            .toList());
  }

  private Value updateAllowed(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          allowed.refresh(tx, c.text(0));
        });
    return Value.VOID;
  }

  private Value assertOperationValid(Call c) throws XenApiException {
    Row vm = Schema.row(c.server().db().snapshot(), "VM", c.text(0));
    String blocked = schema.textMap(vm, "blocked_operations").get(c.text(1));
    if (blocked != null) {
      throw new XenApiException("OPERATION_BLOCKED", vm.ref(), blocked);
    }
    if (!schema.texts(vm, "allowed_operations").contains(c.text(1))) {
      throw new XenApiException(
          "VM_BAD_POWER_STATE", vm.ref(), c.text(1), schema.text(vm, "power_state"));
    }
    return Value.VOID;
  }

  private Value setMemory(Call c, Map<String, Long> changes) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          requireHalted(vm);
          Map<String, Value> f = new LinkedHashMap<>();
          for (String name :
              List.of(
                  "memory_static_min",
                  "memory_dynamic_min",
                  "memory_dynamic_max",
                  "memory_static_max")) {
            Long changed = changes.get(name);
            f.put(name, changed == null ? schema.get(vm, name) : Value.of((long) changed));
          }
          requireMemoryOrder(f);
          for (Map.Entry<String, Value> e : f.entrySet()) {
            schema.set(tx, "VM", vm.ref(), e.getKey(), e.getValue());
          }
        });
    return Value.VOID;
  }

  private Value setVcpus(Call c, String field) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          requireHalted(vm);
          Map<String, Value> f = new LinkedHashMap<>();
          f.put("VCPUs_max", schema.get(vm, "VCPUs_max"));
          f.put("VCPUs_at_startup", schema.get(vm, "VCPUs_at_startup"));
          f.put(field, c.arg(1));
          requireVcpus(f);
          schema.set(tx, "VM", vm.ref(), field, c.arg(1));
        });
    return Value.VOID;
  }

  private void requireHalted(Row vm) throws XenApiException {
    String state = schema.text(vm, "power_state");
    if (!state.equals("Halted")) {
      throw new XenApiException(
          "VM_BAD_POWER_STATE", vm.ref(), "halted", state.toLowerCase(java.util.Locale.ROOT));
    }
  }
}
