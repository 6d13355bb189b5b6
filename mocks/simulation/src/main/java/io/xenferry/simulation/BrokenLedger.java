package io.xenferry.simulation;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.ForwardingLedger;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.time.Instant;
import java.util.List;

/** A ledger that leaves out what a {@link Variant} says, to see that the simulation notices. */
final class BrokenLedger extends ForwardingLedger {
  private final Variant variant;

  BrokenLedger(Ledger ledger, Variant variant) {
    super(ledger);
    this.variant = variant;
  }

  private LedgerRow forgetting(LedgerRow written) {
    if ((variant == Variant.NO_TOMBSTONE && written.ended()) || forgotten(written)) {
      purge(Instant.MAX);
    }
    return written;
  }

  private boolean forgotten(LedgerRow row) {
    return variant == Variant.OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED
        && row.role() == Role.DESTINATION
        && row.cleaned();
  }

  private LedgerRow ending(LedgerRow next) {
    return forgotten(next) ? next.withSettled() : next;
  }

  @Override
  public LedgerRow insert(LedgerRow row) {
    return forgetting(super.insert(row));
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next) {
    return forgetting(super.update(seen, ending(next)));
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    return forgetting(super.update(seen, ending(next), audit));
  }

  @Override
  public List<LedgerRow> rows() {
    return variant == Variant.ACCEPTED_BLINDLY
        ? super.rows().stream().map(row -> row.doubtful() ? row.withBoot("any") : row).toList()
        : super.rows();
  }

  @Override
  public void closeExports(MigrationId migration) {
    if (variant != Variant.EXPORT_CLOSED_BEFORE_RECORDED) {
      super.closeExports(migration);
    }
  }
}
