package io.xenferry.xe.client;

/** The client cannot go on: a sentence for the user and the status to end with. */
final class ClientException extends Exception {
  private static final long serialVersionUID = 1L;

  private final int status;
  private final boolean usage;

  private ClientException(String message, int status, boolean usage) {
    super(message);
    this.status = status;
    this.usage = usage;
  }

  /** Something went wrong on the way. */
  static ClientException failed(String message) {
    return new ClientException(message, 1, false);
  }

  /** Something went wrong on the way and the usage may help. */
  static ClientException failedWithUsage(String message) {
    return new ClientException(message, 1, true);
  }

  /** The options make no sense: usage, and status 0 as the published client has it. */
  static ClientException usage(String message) {
    return new ClientException(message, 0, true);
  }

  int status() {
    return status;
  }

  boolean showsUsage() {
    return usage;
  }
}
