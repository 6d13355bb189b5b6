package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the server tells of itself to those who look for what is wrong with it. */
final class DiagnosticCommands {
  private DiagnosticCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put(
        "diagnostic-compact",
        run -> each(run, host -> run.calls().call("Diagnostics.gc_compact", host)));
    commands.put(
        "diagnostic-gc-stats",
        run -> each(run, host -> table(run, run.calls().call("Diagnostics.gc_stats", host))));
    commands.put(
        "diagnostic-db-stats", run -> table(run, run.calls().call("Diagnostics.db_stats")));
    commands.put("diagnostic-net-stats", DiagnosticCommands::requests);
    commands.put("diagnostic-vm-status", DiagnosticCommands::vm);
  }

  private interface Action {
    void on(Value host) throws XenApiException, CliException, IOException;
  }

  private static void each(Run run, Action action)
      throws XenApiException, CliException, IOException {
    VmCommands.each(
        run,
        run.selection().hosts(Selection.filters(run.arguments(), run.command().own())),
        "hosts",
        host -> action.on(Value.of(host.ref())));
  }

  private static void table(Run run, Value map) throws IOException {
    run.printer().tables(List.of(List.copyOf(Calls.textMap(map).entrySet())));
  }

  /** What the VM's disks are, where it can start, and whether that could be anywhere. */
  private static void vm(Run run) throws XenApiException, CliException, IOException {
    String vm = run.calls().byUuid("VM", run.arguments().need("uuid"));
    Selection.Chosen chosen = new Selection.Chosen(vm, run.calls().record("VM", vm));
    DriveCommands.list(run, chosen, false);
    DriveCommands.list(run, chosen, true);
    run.printer().say("Hosts on which it can start:");
    VmCommands.showWhere(run, vm);
    String agile = "yes";
    try {
      run.calls().call("VM.assert_agile", Value.of(vm));
    } catch (XenApiException e) {
      agile = ErrorText.sentence(e.code());
    }
    run.printer().tables(List.of(List.of(Map.entry("Any host of the pool would do", agile))));
  }

  private static void requests(Run run) throws XenApiException, CliException, IOException {
    Map<String, String> wanted = new LinkedHashMap<>();
    for (String name : List.of("uri", "method", "params")) {
      run.arguments().get(name).ifPresent(value -> wanted.put(name, value));
    }
    each(
        run,
        host -> {
          Value rows = run.calls().call("Diagnostics.network_stats", host, Value.ofTexts(wanted));
          if (rows instanceof Value.Array array) {
            for (Value row : array.items()) {
              run.printer().line(String.join(" ", Calls.texts(row)));
            }
          }
        });
  }
}
