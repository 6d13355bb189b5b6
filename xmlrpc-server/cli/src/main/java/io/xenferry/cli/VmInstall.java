package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** New VMs: from a template, or bare. */
final class VmInstall {
  private static final long MIB = 1L << 20;

  private VmInstall() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("vm-install", VmInstall::install);
    commands.put("vm-create", VmInstall::create);
  }

  private static void install(Run run) throws XenApiException, CliException, IOException {
    Calls calls = run.calls();
    Value name = Value.of(run.arguments().need("new-name-label"));
    String template = template(run);
    Optional<String> sr = sr(run);
    if (sr.isPresent() && Calls.truth(calls.call("VM.get_is_a_snapshot", Value.of(template)))) {
      throw CliException.failed("A VM made from a snapshot stays on the snapshot's SRs");
    }
    String vm =
        sr.isPresent()
            ? calls.text("VM.copy", Value.of(template), name, Value.of(sr.get()))
            : calls.text("VM.clone", Value.of(template), name);
    try {
      finish(run, vm, sr);
    } catch (XenApiException e) {
      try {
        calls.call("VM.destroy", Value.of(vm));
      } catch (XenApiException again) {
        e.addSuppressed(again);
      }
      throw e;
    }
    run.printer().line(calls.uuid("VM", vm));
  }

  private static void finish(Run run, String vm, Optional<String> sr) throws XenApiException {
    Calls calls = run.calls();
    Value self = Value.of(vm);
    calls.call(
        "VM.set_name_description", self, Value.of(run.arguments().get("new-name-description", "")));
    if (sr.isPresent()) {
      calls.call("VM.set_suspend_SR", self, Value.of(sr.get()));
      String uuid = calls.uuid("SR", sr.get());
      Value disks = Calls.members(calls.call("VM.get_other_config", self)).get("disks");
      if (disks != null) {
        calls.call("VM.remove_from_other_config", self, Value.of("disks"));
        calls.call(
            "VM.add_to_other_config",
            self,
            Value.of("disks"),
            Value.of(placed(Calls.text(disks), uuid)));
      }
    }
    calls.call("VM.provision", self);
    Optional<String> bios = run.arguments().get("copy-bios-strings-from");
    if (bios.isPresent()) {
      calls.call("VM.copy_bios_strings", self, Value.of(calls.byUuid("host", bios.get())));
    }
  }

  /**
   * A template's description of its disks with all of them on one SR; it holds {@code sr="…"} per
   * disk.
   */
  static String placed(String disks, String sr) {
    StringBuilder text = new StringBuilder();
    int at = 0;
    for (int found = disks.indexOf(" sr=", at); found >= 0; found = disks.indexOf(" sr=", at)) {
      int open = found + 4;
      if (open >= disks.length()) {
        break;
      }
      int close = disks.indexOf(disks.charAt(open), open + 1);
      if (close < 0) {
        break;
      }
      text.append(disks, at, open + 1).append(sr);
      at = close;
    }
    return text.append(disks.substring(at)).toString();
  }

  private static String template(Run run) throws XenApiException, CliException {
    Optional<String> uuid = run.arguments().get("template-uuid");
    if (uuid.isPresent()) {
      return run.calls().byUuid("VM", uuid.get());
    }
    Optional<String> any = run.arguments().get("template");
    Optional<String> name =
        run.arguments()
            .get("template-name-label")
            .or(() -> run.arguments().get("template-name"))
            .or(() -> any);
    if (name.isEmpty()) {
      throw CliException.required("template-uuid");
    }
    String query =
        any.isPresent()
            ? Calls.anyEquals(name.get(), "uuid", "name__label")
            : Calls.anyEquals(name.get(), "name__label");
    for (Map.Entry<String, Map<String, Value>> e : run.calls().records("VM", query).entrySet()) {
      if (Calls.truth(e.getValue().getOrDefault("is_a_template", Value.of(false)))) {
        return e.getKey();
      }
    }
    throw CliException.failed("No template '%s'".formatted(name.get()));
  }

  private static Optional<String> sr(Run run) throws XenApiException, CliException {
    Optional<String> uuid = run.arguments().get("sr-uuid");
    if (uuid.isPresent()) {
      return Optional.of(run.calls().byUuid("SR", uuid.get()));
    }
    Optional<String> name = run.arguments().get("sr-name-label");
    if (name.isEmpty()) {
      return Optional.empty();
    }
    Optional<String> sr = run.calls().first("SR", name.get(), "name__label");
    if (sr.isEmpty()) {
      throw CliException.failed("No SR '%s'".formatted(name.get()));
    }
    return sr;
  }

  private static void create(Run run) throws XenApiException, CliException, IOException {
    SequencedMap<String, Value> vm = new LinkedHashMap<>();
    vm.put("name_label", Value.of(run.arguments().need("name-label")));
    vm.put("name_description", Value.of(run.arguments().get("name-description", "")));
    vm.put("user_version", Value.of(0));
    vm.put("is_a_template", Value.of(false));
    vm.put("affinity", Value.of(Calls.NULL));
    vm.put("memory_target", Value.of(256 * MIB));
    vm.put("memory_static_max", Value.of(256 * MIB));
    vm.put("memory_dynamic_max", Value.of(256 * MIB));
    vm.put("memory_dynamic_min", Value.of(128 * MIB));
    vm.put("memory_static_min", Value.of(128 * MIB));
    vm.put("VCPUs_params", none());
    vm.put("VCPUs_max", Value.of(1));
    vm.put("VCPUs_at_startup", Value.of(1));
    vm.put("actions_after_shutdown", Value.of("destroy"));
    vm.put("actions_after_softreboot", Value.of("soft_reboot"));
    vm.put("actions_after_reboot", Value.of("restart"));
    vm.put("actions_after_crash", Value.of("destroy"));
    vm.put("PV_bootloader", Value.of(""));
    vm.put("PV_kernel", Value.of(""));
    vm.put("PV_ramdisk", Value.of(""));
    vm.put("PV_args", Value.of(""));
    vm.put("PV_bootloader_args", Value.of(""));
    vm.put("PV_legacy_args", Value.of(""));
    vm.put("HVM_boot_policy", Value.of(""));
    vm.put("HVM_boot_params", none());
    vm.put("HVM_shadow_multiplier", Value.of(1.0));
    vm.put("platform", none());
    vm.put("PCI_bus", Value.of(""));
    vm.put("other_config", none());
    vm.put("recommendations", Value.of(""));
    vm.put("xenstore_data", none());
    vm.put("ha_always_run", Value.of(false));
    vm.put("ha_restart_priority", Value.of(""));
    vm.put("tags", new Value.Array(java.util.List.of()));
    vm.put("blocked_operations", none());
    vm.put("start_delay", Value.of(0));
    vm.put("shutdown_delay", Value.of(0));
    vm.put("order", Value.of(0));
    vm.put("suspend_SR", Value.of(Calls.NULL));
    vm.put("version", Value.of(0));
    String ref = run.calls().text("VM.create", new Value.Struct(vm));
    run.printer().line(run.calls().uuid("VM", ref));
  }

  private static Value none() {
    return Value.Struct.of(Map.of());
  }
}
