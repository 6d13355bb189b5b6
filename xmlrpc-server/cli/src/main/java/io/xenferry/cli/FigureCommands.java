package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The figures of selected VMs, hosts and SRs. */
final class FigureCommands {
  private static final List<String> FIELDS =
      List.of("name_label", "name_description", "enabled", "standard", "min", "max", "units");

  private FigureCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    for (String type : List.of("vm", "host", "sr")) {
      String prefix = type + "-data-source-";
      String apiClass = type.equals("host") ? type : type.toUpperCase(java.util.Locale.ROOT);
      commands.put(prefix + "list", run -> list(run, apiClass));
      commands.put(prefix + "query", run -> one(run, apiClass + ".query_data_source"));
      commands.put(prefix + "record", run -> one(run, apiClass + ".record_data_source"));
      commands.put(prefix + "forget", run -> one(run, apiClass + ".forget_data_source_archives"));
    }
  }

  private static void each(Run run, VmCommands.Action action)
      throws XenApiException, CliException, IOException {
    var filters = Selection.filters(run.arguments(), run.command().own());
    switch (run.command().selects()) {
      case "host" -> VmCommands.each(run, run.selection().hosts(filters), "hosts", action);
      case "sr" -> VmCommands.each(run, run.selection().srs(filters), "SRs", action);
      default -> VmCommands.each(run, false, false, action);
    }
  }

  private static void list(Run run, String apiClass)
      throws XenApiException, CliException, IOException {
    each(
        run,
        chosen -> {
          List<List<Map.Entry<String, String>>> tables = new ArrayList<>();
          Value sources = run.calls().call(apiClass + ".get_data_sources", Value.of(chosen.ref()));
          if (sources instanceof Value.Array array) {
            for (Value source : array.items()) {
              Map<String, Value> fields = Calls.members(source);
              tables.add(
                  FIELDS.stream()
                      .map(name ->
                          Map.entry(name, Display.plain(fields.getOrDefault(name, Value.VOID))))
                      .toList());
            }
          }
          run.printer().tables(tables);
        });
  }

  private static void one(Run run, String method)
      throws XenApiException, CliException, IOException {
    Value source = Value.of(run.arguments().need("data-source"));
    each(
        run,
        chosen -> {
          Value answer = run.calls().call(method, Value.of(chosen.ref()), source);
          if (!answer.equals(Value.VOID)) {
            run.printer().line(Display.plain(answer));
          }
        });
  }
}
