package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@code console}: the text console of one VM at the client's terminal. */
final class ConsoleCommand {
  private ConsoleCommand() {}

  static void run(Run run) throws XenApiException, CliException, IOException {
    List<Selection.Chosen> vms =
        run.selection().vms(Selection.filters(run.arguments(), run.command().own()), true, false);
    if (vms.size() != 1) {
      throw CliException.failed(
          vms.isEmpty()
              ? "No matching VMs found"
              : "%d VMs match; a terminal shows one console".formatted(vms.size()));
    }
    Selection.Chosen vm = vms.getFirst();
    String location =
        textConsole(run, vm)
            .orElseThrow(() -> CliException.failed("The VM has no text console: is it running?"));
    run.printer()
        .say(
            "Connecting to the console of VM %s. Ctrl-] ends it."
                .formatted(Calls.field(vm.record(), "name_label")));
    if (!run.client().connect(path(location) + "&session_id=" + run.calls().session())) {
      throw CliException.failed("The client could not show the console");
    }
  }

  private static Optional<String> textConsole(Run run, Selection.Chosen vm) throws XenApiException {
    for (String ref : Calls.texts(vm.record().getOrDefault("consoles", Value.VOID))) {
      Map<String, Value> console = run.calls().record("console", ref);
      if (Calls.field(console, "protocol").equals("vt100")) {
        return Optional.of(Calls.field(console, "location"));
      }
    }
    return Optional.empty();
  }

  /** The client ignores a port in a URL: a path is of the server that it talks to. */
  private static String path(String location) {
    int scheme = location.indexOf("://");
    int slash = scheme < 0 ? 0 : location.indexOf('/', scheme + 3);
    return slash < 0 ? "/" : location.substring(slash);
  }
}
