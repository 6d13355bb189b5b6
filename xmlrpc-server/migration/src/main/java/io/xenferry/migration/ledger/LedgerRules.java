package io.xenferry.migration.ledger;

import java.time.Instant;
import java.util.Collection;
import java.util.Objects;

/** The rules that every ledger enforces, whatever it is stored in. */
final class LedgerRules {
  private LedgerRules() {}

  /** The row to be added, or a conflict. */
  static LedgerRow inserted(LedgerRow row, Collection<LedgerRow> present, Instant now) {
    for (LedgerRow other : present) {
      if (other.migration().equals(row.migration()) && other.role() == row.role()) {
        throw new LedgerConflictException("migration " + row.migration() + " is known already");
      }
      boolean withinOneHost = other.migration().equals(row.migration());
      if (!row.ended() && !other.ended() && other.vm().equals(row.vm()) && !withinOneHost) {
        throw new LedgerConflictException(
            "VM " + row.vm() + " is in migration " + other.migration() + " already");
      }
    }
    return row.stamped(now, 1);
  }

  /** Whether a tombstone has expired, see {@link Ledger#purge}. */
  static boolean forgettable(LedgerRow row, Instant now) {
    return row.ended() && !row.forced() && row.expiry().isBefore(now);
  }

  /** The row as changed, or a conflict. */
  static LedgerRow updated(LedgerRow current, LedgerRow seen, LedgerRow next, Instant now) {
    if (current.version() != seen.version()) {
      throw new LedgerConflictException(
          "migration " + seen.migration() + " is " + current.state() + " meanwhile");
    }
    if (current.ended()) {
      throw new LedgerConflictException("migration " + seen.migration() + " has ended");
    }
    if (!current.migration().equals(next.migration())
        || current.role() != next.role()
        || !current.vm().equals(next.vm())
        || !Objects.equals(current.plan(), next.plan())) {
      throw new LedgerConflictException("a row's identity does not change");
    }
    if (current.state() != next.state() && !current.state().mayBecome(next.state())) {
      throw new LedgerConflictException(
          current.state() + " does not become " + next.state() + ": " + seen.migration());
    }
    return next.stamped(now, current.version() + 1);
  }
}
