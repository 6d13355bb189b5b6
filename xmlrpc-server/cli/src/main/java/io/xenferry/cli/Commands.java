package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;

/**
 * All commands of xe by name: those of {@code commands.txt}, built where a room of this package
 * builds them, and the ones that every class of records has.
 */
final class Commands {
  private static final Map<String, Command> ALL = load();

  private Commands() {}

  static Optional<Command> named(String name) {
    return Optional.ofNullable(ALL.get(name));
  }

  static Collection<Command> all() {
    return ALL.values();
  }

  private static Map<String, Command> load() {
    Map<String, Command> all = new TreeMap<>();
    RecordCommands.register(all);
    Map<String, String> calls = new LinkedHashMap<>();
    for (String line : RecordClass.Resources.lines("commands.txt")) {
      Command command = Command.parse(line, calls);
      all.put(command.name(), command);
    }
    calls.forEach((name, method) -> build(all, name, run -> simple(run, method)));
    Map<String, Command.Handler> built = new LinkedHashMap<>();
    StorageCommands.register(built);
    DeviceCommands.register(built);
    VmCommands.register(built);
    DriveCommands.register(built);
    TuningCommands.register(built);
    FigureCommands.register(built);
    BlobCommands.register(built);
    ApplianceCommands.register(built);
    HostCommands.register(built);
    SubjectCommands.register(built);
    DiagnosticCommands.register(built);
    PoolCommands.register(built);
    built.put("console", ConsoleCommand::run);
    VmInstall.register(built);
    SnapshotCommands.register(built);
    built.put("vm-migrate", VmMigrate::run);
    built.put("host-evacuate", HostEvacuate::run);
    built.put("event-wait", EventWait::run);
    MigrationCommands.register(built);
    built.forEach((name, handler) -> build(all, name, handler));
    return Map.copyOf(all).entrySet().stream()
        .collect(TreeMap::new, (m, e) -> m.put(e.getKey(), e.getValue()), TreeMap::putAll);
  }

  private static void build(Map<String, Command> all, String name, Command.Handler handler) {
    all.put(name, Objects.requireNonNull(all.get(name), name).doing(handler));
  }

  /** The call of the same name with the object that uuid names, or with each that is selected. */
  private static void simple(Run run, String method)
      throws XenApiException, CliException, IOException {
    String className = method.substring(0, method.indexOf('.'));
    switch (run.command().selects()) {
      case "vm" -> VmCommands.each(run, false, false, vm -> show(run, method, vm.ref()));
      case "host" ->
          VmCommands.each(
              run,
              run.selection().hosts(Selection.filters(run.arguments(), run.command().own())),
              "hosts",
              host -> show(run, method, host.ref()));
      case "sr" ->
          VmCommands.each(
              run,
              run.selection().srs(Selection.filters(run.arguments(), run.command().own())),
              "SRs",
              sr -> show(run, method, sr.ref()));
      default -> show(run, method, run.calls().byUuid(className, run.arguments().need("uuid")));
    }
  }

  /** Calls, and shows what the call answers unless that is nothing. */
  private static void show(Run run, String method, String ref) throws XenApiException, IOException {
    Value answer = run.calls().call(method, Value.of(ref));
    if (!answer.equals(Value.VOID)) {
      run.printer().list(List.of(Display.plain(answer)));
    }
  }
}
