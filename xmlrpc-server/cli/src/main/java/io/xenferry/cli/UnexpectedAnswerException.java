package io.xenferry.cli;

/** A server answered with another kind of value than the call has. */
final class UnexpectedAnswerException extends IllegalArgumentException {
  private static final long serialVersionUID = 1L;

  UnexpectedAnswerException(String message) {
    super(message);
  }
}
