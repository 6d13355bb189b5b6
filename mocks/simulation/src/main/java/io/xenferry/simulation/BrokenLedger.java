package io.xenferry.simulation;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.ForwardingLedger;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import java.time.Instant;

/** A ledger that leaves out what a {@link Variant} says, to see that the simulation notices. */
final class BrokenLedger extends ForwardingLedger {
  private final Variant variant;

  BrokenLedger(Ledger ledger, Variant variant) {
    super(ledger);
    this.variant = variant;
  }

  private LedgerRow forgetting(LedgerRow written) {
    if (variant == Variant.NO_TOMBSTONE && written.ended()) {
      purge(Instant.MAX);
    }
    return written;
  }

  @Override
  public LedgerRow insert(LedgerRow row) {
    return forgetting(super.insert(row));
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next) {
    return forgetting(super.update(seen, next));
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    return forgetting(super.update(seen, next, audit));
  }

  @Override
  public void closeExports(MigrationId migration) {
    if (variant != Variant.EXPORT_CLOSED_UNRECORDED) {
      super.closeExports(migration);
    }
  }
}
