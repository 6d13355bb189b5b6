package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/** Snapshots of VMs, and templates: VMs that only some commands may name. */
final class SnapshotCommands {
  private SnapshotCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("snapshot-revert", run -> run.calls().call("VM.revert", Value.of(snapshot(run))));
    commands.put("snapshot-disk-list", SnapshotCommands::listDisks);
    commands.put("snapshot-destroy", SnapshotCommands::destroy);
    commands.put("snapshot-uninstall", run -> VmUninstall.of(run, snapshot(run)));
    commands.put("snapshot-reset-powerstate", SnapshotCommands::resetPowerState);
    commands.put("template-uninstall", SnapshotCommands::uninstallTemplate);
    commands.put("snapshot-clone", SnapshotCommands::cloneSnapshot);
    commands.put("snapshot-copy", SnapshotCommands::copy);
  }

  /** By {@code uuid} or {@code snapshot-uuid}. */
  private static String snapshot(Run run) throws XenApiException, CliException {
    Arguments a = run.arguments();
    Optional<String> named = a.get("snapshot-uuid");
    String uuid = named.isPresent() ? named.get() : a.need("uuid");
    String ref = run.calls().byUuid("VM", uuid);
    if (!Calls.truth(run.calls().call("VM.get_is_a_snapshot", Value.of(ref)))) {
      throw CliException.failed("The VM " + uuid + " is not a snapshot");
    }
    return ref;
  }

  private static void listDisks(Run run) throws XenApiException, CliException, IOException {
    String ref = snapshot(run);
    DriveCommands.list(run, new Selection.Chosen(ref, run.calls().record("VM", ref)), false);
  }

  private static void destroy(Run run) throws XenApiException, CliException {
    String ref = snapshot(run);
    if (!run.calls().of(ref, "VM.get_power_state").equals("Halted")) {
      run.calls().call("VM.hard_shutdown", Value.of(ref));
    }
    run.calls().call("VM.destroy", Value.of(ref));
  }

  private static void resetPowerState(Run run) throws XenApiException, CliException {
    VmCommands.requireForce(run);
    run.calls().call("VM.power_state_reset", Value.of(snapshot(run)));
  }

  private static void uninstallTemplate(Run run) throws XenApiException, CliException, IOException {
    String uuid = run.arguments().need("template-uuid");
    String ref = run.calls().byUuid("VM", uuid);
    if (!Calls.truth(run.calls().call("VM.get_is_a_template", Value.of(ref)))
        || Calls.truth(run.calls().call("VM.get_is_a_snapshot", Value.of(ref)))) {
      throw CliException.failed("The VM " + uuid + " is not a template");
    }
    VmUninstall.of(run, ref);
  }

  private static void cloneSnapshot(Run run) throws XenApiException, CliException, IOException {
    made(
        run,
        run.calls()
            .text(
                "VM.clone",
                Value.of(snapshot(run)),
                Value.of(run.arguments().need("new-name-label"))));
  }

  private static void copy(Run run) throws XenApiException, CliException, IOException {
    Optional<String> sr = run.arguments().get("sr-uuid");
    made(
        run,
        run.calls()
            .text(
                "VM.copy",
                Value.of(snapshot(run)),
                Value.of(run.arguments().need("new-name-label")),
                Value.of(sr.isPresent() ? run.calls().byUuid("SR", sr.get()) : Calls.NULL)));
  }

  private static void made(Run run, String ref) throws XenApiException, IOException {
    Optional<String> description = run.arguments().get("new-name-description");
    if (description.isPresent()) {
      run.calls().call("VM.set_name_description", Value.of(ref), Value.of(description.get()));
    }
    run.printer().line(run.calls().uuid("VM", ref));
  }
}
