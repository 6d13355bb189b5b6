package io.xenferry.cli;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@code help}: what commands there are, and what each takes. */
final class Help {
  private static final int WIDTH = 74;

  private static final String USAGE =
      """
      Usage: xe COMMAND [ -s SERVER ] [ -p PORT ] [ -u USER ] [ -pw PASSWORD ]
                [ -pwf FILE ] [ --nossl ] [ --debug ] [ --debug-on-fail ]
                [ --traceparent TRACE ] [ --minimal ] [ --trace ] [ NAME=VALUE ... ]

      "xe help COMMAND" tells about one command, "xe help --all" lists them all.
      """;

  private Help() {}

  static void run(Arguments arguments, Printer printer, ClientChannel client)
      throws CliException, IOException {
    List<String> names =
        arguments.all().stream()
            .filter(e -> e.getValue().isEmpty())
            .map(Map.Entry::getKey)
            .toList();
    if (!names.isEmpty()) {
      for (String name : names) {
        describe(name, printer, client);
      }
    } else if (arguments.flag("all")) {
      everything(printer);
    } else {
      List<String> standard = names(c -> c.standard());
      if (printer.minimal()) {
        printer.list(standard);
      } else {
        printer.say(USAGE + "\nCommonly used commands\n\n" + wrapped(standard));
      }
    }
  }

  private interface Choice {
    boolean takes(Command command);
  }

  private static List<String> names(Choice choice) {
    return Commands.all().stream()
        .filter(c -> !c.hidden() && c.handler().isPresent() && choice.takes(c))
        .map(Command::name)
        .toList();
  }

  private static void everything(Printer printer) throws IOException {
    if (printer.minimal()) {
      printer.list(names(c -> true));
      return;
    }
    List<String> host = names(c -> c.name().startsWith("host-"));
    List<String> vm = names(c -> c.name().startsWith("vm-"));
    List<String> rest = names(c -> !c.name().startsWith("host-") && !c.name().startsWith("vm-"));
    printer.say(USAGE + "\nHost commands\n\n" + wrapped(host));
    printer.say("VM commands\n\n" + wrapped(vm));
    printer.say("Other commands\n\n" + wrapped(rest));
  }

  /** Names joined by commas; at the end of a line the comma is left out. */
  static String wrapped(List<String> names) {
    StringBuilder text = new StringBuilder();
    StringBuilder line = new StringBuilder("    ");
    for (String name : names) {
      boolean first = line.length() == 4;
      if (!first && line.length() + 2 + name.length() > WIDTH) {
        text.append(line).append('\n');
        line = new StringBuilder("    ");
        first = true;
      }
      line.append(first ? "" : ", ").append(name);
    }
    return text.append(line).append('\n').toString();
  }

  private static void describe(String name, Printer printer, ClientChannel client)
      throws IOException {
    Optional<Command> found = Commands.named(name);
    if (found.isEmpty()) {
      // Where clients expect it; what is minimal is for programs, and holds names of commands only.
      String complaint = "Unknown command '" + name + "'";
      if (printer.minimal()) {
        client.stderr(complaint + "\n");
      } else {
        client.print(complaint);
      }
      return;
    }
    Command command = found.get();
    List<String> optional = new ArrayList<>(command.takes());
    if (!command.selects().isEmpty()) {
      optional.add("<" + command.selects() + "-selectors>");
    }
    printer.tables(
        List.of(
            List.of(
                Map.entry("command name        ", command.name()),
                Map.entry("reqd params     ", String.join(", ", command.needs())),
                Map.entry("optional params ", String.join(", ", optional)),
                Map.entry("description     ", description(command)))));
  }

  private static String description(Command command) {
    return command.handler().isEmpty()
        ? "Not available on this server."
        : Descriptions.of(command.name());
  }
}
