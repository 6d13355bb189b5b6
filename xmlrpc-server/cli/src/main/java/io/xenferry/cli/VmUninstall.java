package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Destroys VMs with their snapshots and the disks that they own, once the user said so. */
final class VmUninstall {
  private VmUninstall() {}

  /** What will go. */
  private record Doomed(Set<String> vms, Set<String> disks, List<String> lines) {}

  static void run(Run run) throws XenApiException, CliException, IOException {
    Doomed doomed = new Doomed(new LinkedHashSet<>(), new LinkedHashSet<>(), new ArrayList<>());
    VmCommands.each(run, false, false, vm -> collect(run, doomed, vm));
    destroy(run, doomed);
  }

  /** One VM, which may be a snapshot. */
  static void of(Run run, String vm) throws XenApiException, CliException, IOException {
    Doomed doomed = new Doomed(new LinkedHashSet<>(), new LinkedHashSet<>(), new ArrayList<>());
    add(run, doomed, vm, run.calls().record("VM", vm));
    destroy(run, doomed);
  }

  private static void destroy(Run run, Doomed doomed)
      throws XenApiException, CliException, IOException {
    if (!run.arguments().flag("force")) {
      run.client().print("The following items are about to be destroyed");
      for (String line : doomed.lines()) {
        run.client().print(line);
      }
      run.client().print("Type 'yes' to continue");
      if (!run.client().prompt().strip().toLowerCase(Locale.ROOT).equals("yes")) {
        run.client().print("Aborted");
        return;
      }
    }
    for (String vm : doomed.vms()) {
      if (!run.calls().of(vm, "VM.get_power_state").equals("Halted")) {
        run.calls().call("VM.hard_shutdown", Value.of(vm));
      }
      run.calls().call("VM.destroy", Value.of(vm));
    }
    for (String disk : doomed.disks()) {
      run.calls().call("VDI.destroy", Value.of(disk));
    }
    run.client().print("All objects destroyed");
  }

  private static void collect(Run run, Doomed doomed, Selection.Chosen vm) throws XenApiException {
    add(run, doomed, vm.ref(), vm.record());
    for (String snapshot : Calls.texts(vm.record().getOrDefault("snapshots", Value.VOID))) {
      add(run, doomed, snapshot, run.calls().record("VM", snapshot));
    }
  }

  private static void add(Run run, Doomed doomed, String ref, Map<String, Value> vm)
      throws XenApiException {
    if (!doomed.vms().add(ref)) {
      return;
    }
    doomed
        .lines()
        .add("VM : %s (%s)".formatted(Calls.field(vm, "uuid"), Calls.field(vm, "name_label")));
    for (String vbd : Calls.texts(vm.getOrDefault("VBDs", Value.VOID))) {
      Map<String, Value> record = run.calls().record("VBD", vbd);
      if (Calls.members(record.getOrDefault("other_config", Value.VOID)).containsKey("owner")) {
        addDisk(run, doomed, Calls.field(record, "VDI"));
      }
    }
    addDisk(run, doomed, Calls.field(vm, "suspend_VDI"));
  }

  private static void addDisk(Run run, Doomed doomed, String vdi) throws XenApiException {
    if (vdi.isEmpty() || vdi.equals(Calls.NULL) || !doomed.disks().add(vdi)) {
      return;
    }
    try {
      doomed
          .lines()
          .add(
              "VDI: %s (%s)"
                  .formatted(
                      run.calls().uuid("VDI", vdi), run.calls().of(vdi, "VDI.get_name_label")));
    } catch (XenApiException e) {
      if (!e.code().equals("HANDLE_INVALID")) {
        throw e;
      }
      doomed.disks().remove(vdi);
    }
  }
}
