package io.xenferry.guest;

/** A command that is refused; the message is what the client reads. */
final class QmpError extends Exception {
  private static final long serialVersionUID = 1L;

  QmpError(String message) {
    super(message);
  }

  String text() {
    return String.valueOf(getMessage());
  }
}
