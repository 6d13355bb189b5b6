package io.xenferry.cli;

/** A command cannot go on for a reason of the command line itself. */
final class CliException extends Exception {
  private static final long serialVersionUID = 1L;

  /** How the failure is shown. */
  enum Kind {
    /** {@code Unknown command: X}. */
    UNKNOWN_COMMAND,
    /** {@code Syntax error: X}. */
    SYNTAX,
    /** {@code Required parameter not found: X}. */
    REQUIRED,
    /** {@code Error: X}. */
    COMMAND,
    /** The code {@code Missing parameter} with the name X. */
    FIELD,
    /** Shown already; only the status is left. */
    SHOWN
  }

  private final Kind kind;

  CliException(Kind kind, String text) {
    super(text);
    this.kind = kind;
  }

  static CliException failed(String text) {
    return new CliException(Kind.COMMAND, text);
  }

  static CliException required(String name) {
    return new CliException(Kind.REQUIRED, name);
  }

  static CliException field(String name) {
    return new CliException(Kind.FIELD, name);
  }

  Kind kind() {
    return kind;
  }

  String text() {
    return String.valueOf(getMessage());
  }
}
