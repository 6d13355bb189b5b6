package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Works out {@code allowed_operations} of VMs, VBDs and VIFs: what the power state allows, of that
 * what this server implements. Whoever changes a power state or what a VM has under way calls
 * {@link #refresh} in the same transaction.
 */
public final class AllowedOperations {

  private static final List<String> ALWAYS = List.of("snapshot", "shutdown");

  private static final Map<String, List<String>> BY_STATE =
      Map.of(
          "Halted",
              List.of(
                  "clone",
                  "copy",
                  "start",
                  "start_on",
                  "export",
                  "destroy",
                  "migrate_send",
                  "snapshot"),
          "Running",
              List.of(
                  "pause",
                  "clean_shutdown",
                  "clean_reboot",
                  "hard_shutdown",
                  "hard_reboot",
                  "suspend",
                  "checkpoint",
                  "changing_VCPUs_live",
                  "changing_dynamic_range",
                  "awaiting_memory_live",
                  "pool_migrate",
                  "migrate_send"),
          "Paused", List.of("unpause", "hard_shutdown", "hard_reboot", "changing_dynamic_range"),
          "Suspended",
              List.of("resume", "resume_on", "hard_shutdown", "copy", "export", "migrate_send"));

  /** While one of these waits for the guest, the others may end it. */
  private static final Set<String> CLEAN = Set.of("clean_shutdown", "clean_reboot");

  private static final List<String> OVERRULING = List.of("hard_shutdown", "hard_reboot");

  /** The message that does it, where it has another name than the operation. */
  private static final Map<String, String> MESSAGES =
      Map.of(
          "changing_VCPUs_live", "set_VCPUs_number_live",
          "changing_dynamic_range", "set_memory_dynamic_range",
          "awaiting_memory_live", "wait_memory_target_live");

  private final Registry registry;
  private final Schema schema = new Schema();

  public AllowedOperations(Registry registry) {
    this.registry = registry;
  }

  /** For the VM and what hangs on it. */
  public void refresh(Transaction tx, String vm) throws XenApiException {
    Row row = Schema.row(tx, "VM", vm);
    set(tx, row, vmOperations(row));
    for (String vbd : schema.texts(row, "VBDs")) {
      refreshDevice(tx, row, Schema.row(tx, "VBD", vbd));
    }
    for (String vif : schema.texts(row, "VIFs")) {
      refreshDevice(tx, row, Schema.row(tx, "VIF", vif));
    }
  }

  private List<String> vmOperations(Row vm) {
    if (schema.bool(vm, "is_control_domain")) {
      return List.of();
    }
    Map<String, String> current = schema.textMap(vm, "current_operations");
    if (!current.isEmpty()) {
      return CLEAN.containsAll(current.values()) ? known(OVERRULING, vm) : List.of();
    }
    if (schema.bool(vm, "is_a_snapshot")) {
      List<String> ofSnapshots =
          new ArrayList<>(List.of("clone", "copy", "export", "destroy", "revert"));
      if (schema.text(vm, "power_state").equals("Suspended")) {
        ofSnapshots.add("hard_shutdown");
      }
      return known(ofSnapshots, vm);
    }
    if (schema.bool(vm, "is_a_template")) {
      return known(List.of("clone", "copy", "provision", "export", "destroy"), vm);
    }
    String state = schema.text(vm, "power_state");
    List<String> all = new ArrayList<>(BY_STATE.getOrDefault(state, List.of()));
    Map<String, String> platform = schema.textMap(vm, "platform");
    if (state.equals("Running")
        && ("true".equals(platform.get("nomigrate"))
            || "true".equals(platform.get("nested-virt")))) {
      all.removeAll(List.of("migrate_send", "pool_migrate"));
    }
    if (!state.equals("Halted")) {
      ALWAYS.stream().filter(o -> !all.contains(o)).forEach(all::add);
    }
    return known(all, vm);
  }

  private List<String> known(List<String> operations, Row vm) {
    Map<String, String> blocked = schema.textMap(vm, "blocked_operations");
    return operations.stream()
        .filter(o -> !blocked.containsKey(o))
        .filter(o -> implemented("VM." + MESSAGES.getOrDefault(o, o)))
        .toList();
  }

  private void refreshDevice(Transaction tx, Row vm, Row device) throws XenApiException {
    set(tx, device, deviceOperations(vm, device));
  }

  private List<String> deviceOperations(Row vm, Row device) {
    if (!schema.textMap(vm, "current_operations").isEmpty()
        || !schema.textMap(device, "current_operations").isEmpty()) {
      return List.of();
    }
    String state = schema.text(vm, "power_state");
    boolean there = state.equals("Running") || state.equals("Paused");
    boolean attached = schema.bool(device, "currently_attached");
    boolean cd = device.className().equals("VBD") && schema.text(device, "type").equals("CD");
    List<String> operations = new ArrayList<>();
    if (!attached) {
      operations.add("attach");
    }
    if (cd && (state.equals("Halted") || (there && attached))) {
      operations.add(schema.bool(device, "empty") ? "insert" : "eject");
    } else if (!cd && there && !attached) {
      operations.add("plug");
    } else if (!cd && state.equals("Running") && attached && unpluggable(device)) {
      // A guest that stands still cannot let go.
      operations.add("unplug");
      operations.add("unplug_force");
    }
    return operations.stream()
        .filter(o -> o.equals("attach") || implemented(device.className() + "." + o))
        // A VIF's unplugging by force is no operation of its own.
        .filter(o -> device.className().equals("VBD") || !o.equals("unplug_force"))
        .toList();
  }

  private boolean unpluggable(Row device) {
    return !device.className().equals("VBD") || schema.bool(device, "unpluggable");
  }

  private boolean implemented(String wireName) {
    return DataModel.message(wireName)
        .map(m -> !(registry.entry(m) instanceof Registry.Refused))
        .orElse(false);
  }

  private void set(Transaction tx, Row row, List<String> operations) throws XenApiException {
    Value value = Value.ofTexts(operations);
    if (!schema.get(row, "allowed_operations").equals(value)) {
      schema.set(tx, row.className(), row.ref(), "allowed_operations", value);
    }
  }
}
