package io.xenferry.migration.ports;

/**
 * An effect was refused and provably did not happen: everything is as before. Ports complete their
 * futures with it where they know that; any other failure means that the effect is unknown.
 */
public final class RefusedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public RefusedException(String message) {
    super(message);
  }

  public RefusedException(String message, Throwable cause) {
    super(message, cause);
  }
}
