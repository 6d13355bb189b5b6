package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** Hosts: letting VMs on them, plug-ins, licenses, and what they tell of themselves. */
final class HostCommands {
  /** In other_config of a host that an administrator has taken out of use. */
  private static final String MAINTENANCE = "MAINTENANCE_MODE";

  /** After the name of a plug-in's argument: its value is a file of the client's. */
  private static final String FILE = ":file";

  private HostCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("host-enable", HostCommands::enable);
    commands.put("host-disable", HostCommands::disable);
    commands.put("host-call-plugin", run -> plugin(run, "host", "host-uuid"));
    commands.put("vm-call-plugin", run -> plugin(run, "VM", "vm-uuid"));
    commands.put("host-cpu-info", HostCommands::cpuInfo);
    commands.put("host-license-view", HostCommands::license);
    commands.put(
        "host-license-remove",
        run -> run.calls().call("host.license_remove", Value.of(one(run, "host-uuid"))));
    commands.put(
        "host-apply-edition",
        run ->
            run.calls()
                .call(
                    "host.apply_edition",
                    Value.of(one(run, "host-uuid")),
                    Value.of(run.arguments().need("edition"))));
    commands.put(
        "host-is-in-emergency-mode",
        run ->
            run.printer()
                .line(
                    Boolean.toString(Calls.truth(run.calls().call("host.is_in_emergency_mode")))));
  }

  private static void each(Run run, VmCommands.Action action)
      throws XenApiException, CliException, IOException {
    VmCommands.each(
        run,
        run.selection().hosts(Selection.filters(run.arguments(), run.command().own())),
        "hosts",
        action);
  }

  private static void enable(Run run) throws XenApiException, CliException, IOException {
    each(
        run,
        host -> {
          Value self = Value.of(host.ref());
          run.calls().call("host.remove_from_other_config", self, Value.of(MAINTENANCE));
          run.calls().call("host.enable", self);
        });
  }

  private static void disable(Run run) throws XenApiException, CliException, IOException {
    Value auto = Value.of(run.arguments().flag("auto-enable", true));
    each(run, host -> run.calls().call("host.disable", Value.of(host.ref()), auto));
  }

  /** The host that is named, or the one that answers. */
  private static String one(Run run, String parameter) throws XenApiException {
    Optional<String> uuid = run.arguments().get(parameter);
    return uuid.isPresent()
        ? run.calls().byUuid("host", uuid.get())
        : run.calls().text("session.get_this_host", Value.of(run.calls().session()));
  }

  private static void cpuInfo(Run run) throws XenApiException, CliException, IOException {
    table(run, run.calls().call("host.get_cpu_info", Value.of(one(run, "uuid"))));
  }

  private static void license(Run run) throws XenApiException, CliException, IOException {
    table(run, run.calls().call("host.get_license_params", Value.of(one(run, "host-uuid"))));
  }

  private static void table(Run run, Value map) throws IOException {
    List<Map.Entry<String, String>> lines = new ArrayList<>(Calls.textMap(map).entrySet());
    run.printer().tables(List.of(lines));
  }

  private static void plugin(Run run, String className, String parameter)
      throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    String self = run.calls().byUuid(className, a.need(parameter));
    SequencedMap<String, String> args = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : a.map("args").entrySet()) {
      if (e.getKey().endsWith(FILE)) {
        byte[] content =
            run.client()
                .load(e.getValue())
                .orElseThrow(() ->
                    CliException.failed("The file '%s' cannot be read".formatted(e.getValue())));
        args.put(
            e.getKey().substring(0, e.getKey().length() - FILE.length()),
            new String(content, StandardCharsets.UTF_8));
      } else {
        args.put(e.getKey(), e.getValue());
      }
    }
    run.client()
        .print(
            run.calls()
                .text(
                    className + ".call_plugin",
                    Value.of(self),
                    Value.of(a.need("plugin")),
                    Value.of(a.need("fn")),
                    Value.ofTexts(args)));
  }
}
