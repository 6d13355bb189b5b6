package io.xenferry.migration.ledger;

/**
 * The ledger could not be read or written: what has become durable is unknown. Whoever gets it must
 * not act on the decision that it was about to write.
 */
public class LedgerException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public LedgerException(String message) {
    super(message);
  }

  public LedgerException(String message, Throwable cause) {
    super(message, cause);
  }
}
