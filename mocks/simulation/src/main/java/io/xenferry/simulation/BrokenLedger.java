package io.xenferry.simulation;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.ForwardingLedger;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.MemoryLedger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import java.util.function.Supplier;

/** A ledger that leaves out what a {@link Variant} says, to see that the simulation notices. */
final class BrokenLedger extends ForwardingLedger {
  private final Variant variant;

  private BrokenLedger(Ledger ledger, Variant variant) {
    super(ledger);
    this.variant = variant;
  }

  static Ledger open(
      MemoryLedger.Disk disk, Supplier<Instant> clock, MemoryLedger.Probe probe, Variant variant) {
    return new BrokenLedger(
        new MemoryLedger(
            disk,
            clock,
            probe,
            row -> staysVolatile(row, variant),
            row -> variant == Variant.SECOND_BESIDE_AN_UNENDED_ROW),
        variant);
  }

  /** What begins moves goes by: the gate goes by all rows, in each variant. */
  static Ledger beginning(Ledger ledger, Variant variant) {
    return variant != Variant.SECOND_BESIDE_AN_UNENDED_ROW
        ? ledger
        : new ForwardingLedger(ledger) {
          @Override
          public List<LedgerRow> unended(UUID vm) {
            return List.of();
          }
        };
  }

  private static boolean staysVolatile(LedgerRow row, Variant variant) {
    return switch (variant) {
      case NO_STARTING_RECORD -> row.state() == State.STARTING;
      case COMMIT_BEFORE_COMMITTING_IS_DURABLE -> row.state() == State.COMMITTING;
      default -> false;
    };
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
