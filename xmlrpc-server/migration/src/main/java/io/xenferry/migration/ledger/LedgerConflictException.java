package io.xenferry.migration.ledger;

/** The ledger refused a change and is as before: somebody else was first, or a rule forbids it. */
public final class LedgerConflictException extends LedgerException {
  private static final long serialVersionUID = 1L;

  public LedgerConflictException(String message) {
    super(message);
  }
}
