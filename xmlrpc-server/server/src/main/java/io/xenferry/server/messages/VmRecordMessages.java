package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/** VMs as far as they are records: everything here needs a halted one. */
final class VmRecordMessages {
  private static final String TEST = "RecordsTest.haltedVmsAreRecords";
  private static final String ACTIONS_TEST = "RecordsTest.whatAGuestsEndLeadsToIsFixed";

  /** By field: what this server does when a guest does that by itself. */
  private static final Map<String, Set<String>> WHAT_HAPPENS =
      Map.of(
          "actions_after_shutdown", Set.of("destroy", "restart"),
          "actions_after_reboot", Set.of("restart"),
          "actions_after_softreboot", Set.of("soft_reboot"),
          "actions_after_crash", Set.of("destroy", "restart", "preserve"));

  private final AllowedOperations allowed;
  private final Schema schema = new Schema();

  VmRecordMessages(AllowedOperations allowed) {
    this.allowed = allowed;
  }

  void register(Registry r) {
    r.implement("VM.create", this::create, TEST);
    r.implement(
        "VM.set_HVM_boot_policy",
        this::setBootPolicy,
        "GuestSpecsTest.theBootPolicyDecidesWhoBoots");
    r.implement("VM.set_is_a_template", this::setIsATemplate, TEST);
    r.implement(
        "VM.get_allowed_VBD_devices",
        c -> freeDevices(c, "VBD", "userdevice", VbdMessages.DEVICES),
        TEST);
    r.implement("VM.get_allowed_VIF_devices", c -> freeDevices(c, "VIF", "device", 7), TEST);
    r.implement("VM.update_allowed_operations", this::updateAllowed, TEST);
    r.implement("VM.assert_operation_valid", this::assertOperationValid, TEST);
    r.implement("VM.compute_memory_overhead", this::memoryOverhead, TEST);
    for (String number : List.of("order", "start_delay", "shutdown_delay")) {
      r.implement("VM.set_" + number, c -> setPositive(c, number), TEST);
    }
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
    r.implement("VM.get_cooperative", this::cooperative, TEST);
    r.implement("VM.maximise_memory", this::maximiseMemory, TEST);
    r.implement(
        "VM.set_domain_type", this::setDomainType, "GuestSpecsTest.theBootPolicyDecidesWhoBoots");
    r.implement("VM.set_VCPUs_max", c -> setVcpus(c, "VCPUs_max"), TEST);
    r.implement("VM.set_VCPUs_at_startup", c -> setVcpus(c, "VCPUs_at_startup"), TEST);
    for (Map.Entry<String, Set<String>> e : WHAT_HAPPENS.entrySet()) {
      r.implement(
          "VM.set_" + e.getKey(), c -> setAction(c, e.getKey(), e.getValue()), ACTIONS_TEST);
    }
    for (String name : List.of("set_", "add_to_", "remove_from_")) {
      r.implement(
          "VM." + name + "blocked_operations",
          c -> {
            Accessors.change(c, tx -> allowed.refresh(tx, c.text(0)));
            return Value.VOID;
          },
          "RecordsTest.aBlockedOperationIsNotAllowed");
    }
  }

  private Value create(Call c) throws XenApiException {
    Map<String, Value> f = Accessors.constructorFields(DataModel.classDef("VM"), c.members(0));
    String state = ((Value.Text) f.getOrDefault("power_state", Value.of("Halted"))).text();
    if (!state.equals("Halted")) {
      throw new XenApiException(
          "VM_BAD_POWER_STATE",
          Ref.nullRef().opaque(),
          "halted",
          state.toLowerCase(java.util.Locale.ROOT));
    }
    requireMemoryOrder(f);
    requireVcpus(f);
    f.put("domid", Value.of(-1L));
    return c.server()
        .db()
        .write(tx -> {
          Schema.requireReferences(tx, "VM", f);
          f.put("metrics", Value.of(createMetrics(tx, f)));
          String ref = tx.create("VM", f);
          allowed.refresh(tx, ref);
          return Value.of(ref);
        });
  }

  private static String createMetrics(Transaction tx, Map<String, Value> vm)
      throws XenApiException {
    Map<String, Value> f = new LinkedHashMap<>();
    f.put("install_time", Value.of(Instant.now()));
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

  /** What does not happen is not stored as if it did. */
  private Value setAction(Call c, String field, Set<String> possible) throws XenApiException {
    if (!possible.contains(c.text(1))) {
      throw new XenApiException("NOT_IMPLEMENTED", c.message().wireName() + " to " + c.text(1));
    }
    c.server()
        .db()
        .change(tx -> {
          Schema.row(tx, "VM", c.text(0));
          schema.set(tx, "VM", c.text(0), field, c.arg(1));
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

  /** A VM that has one is virtualised wholly, and starts with firmware. */
  private Value setBootPolicy(Call c) throws XenApiException {
    String policy = c.text(1);
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          schema.set(tx, "VM", vm.ref(), "HVM_boot_policy", Value.of(policy));
          schema.set(tx, "VM", vm.ref(), "domain_type", Value.of(policy.isEmpty() ? "pv" : "hvm"));
        });
    return Value.VOID;
  }

  /** As older clients choose between firmware and none. */
  private Value setDomainType(Call c) throws XenApiException {
    String type = c.text(1);
    if (!type.equals("hvm") && !type.equals("pv")) {
      throw new XenApiException("NOT_IMPLEMENTED", c.message().wireName() + " to " + type);
    }
    c.server()
        .db()
        .change(tx -> {
          Row vm = Schema.row(tx, "VM", c.text(0));
          requireHalted(vm);
          String policy = schema.text(vm, "HVM_boot_policy");
          String order = policy.isEmpty() ? "BIOS order" : policy;
          schema.set(
              tx, "VM", vm.ref(), "HVM_boot_policy", Value.of(type.equals("hvm") ? order : ""));
          schema.set(tx, "VM", vm.ref(), "domain_type", Value.of(type));
        });
    return Value.VOID;
  }

  /** Whether it lets its balloon be filled; published servers say so of every guest. */
  private Value cooperative(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "VM", c.text(0));
    return Value.of(true);
  }

  /** Nothing of a guest's memory is taken for anything else. */
  private Value maximiseMemory(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "VM", c.text(0));
    long total = c.integer(1);
    if (total < 0) {
      throw new XenApiException("INVALID_VALUE", "total", Long.toString(total));
    }
    return Value.of(total - total % (1L << 20));
  }

  private Value memoryOverhead(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "VM", c.text(0));
    return Value.of(0L);
  }

  private static Value setPositive(Call c, String name) throws XenApiException {
    if (c.integer(1) < 0) {
      throw new XenApiException("INVALID_VALUE", name, Long.toString(c.integer(1)));
    }
    Accessors.change(c, tx -> {});
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
