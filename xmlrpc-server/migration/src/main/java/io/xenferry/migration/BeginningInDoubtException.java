package io.xenferry.migration;

import io.xenferry.migration.ledger.LedgerException;
import java.util.concurrent.CompletableFuture;

/** The first row of a migration could not be written, or has been although that failed. */
final class BeginningInDoubtException extends LedgerException {
  private static final long serialVersionUID = 1L;

  /** Completes when there is no such row, or, at the source, when the VM stays for sure. */
  private final transient CompletableFuture<Void> settled;

  BeginningInDoubtException(LedgerException cause, CompletableFuture<Void> settled) {
    super(String.valueOf(cause.getMessage()), cause);
    this.settled = settled;
  }

  CompletableFuture<Void> settled() {
    return settled;
  }
}
