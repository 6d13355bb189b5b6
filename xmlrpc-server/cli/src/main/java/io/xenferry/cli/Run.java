package io.xenferry.cli;

/** What a command has at hand while it runs. */
record Run(
    Arguments arguments,
    Command command,
    Calls calls,
    ClientChannel client,
    Printer printer,
    Display display,
    Selection selection,
    CliEnvironment environment) {

  Run with(Arguments other) {
    return new Run(other, command, calls, client, printer, display, selection, environment);
  }
}
