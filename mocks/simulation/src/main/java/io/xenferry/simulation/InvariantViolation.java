package io.xenferry.simulation;

/** A promise of the product was broken; the message names it. */
public final class InvariantViolation extends AssertionError {
  private static final long serialVersionUID = 1L;

  public InvariantViolation(String message) {
    super(message);
  }
}
