package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;

/**
 * Who owns which VM, as this host has durably decided.
 *
 * <p>Every method that changes something returns only when the change is on stable storage; then
 * and only then may the effect that it authorises begin. Thread-safe. A change takes about a
 * millisecond (one fdatasync).
 *
 * <p>Rules enforced here, whoever calls: transitions follow {@link
 * io.xenferry.migration.state.State#next}; a change is a compare-and-set on the row's version; a VM
 * has at most one unended row, whatever its role, except that a migration within one host has one
 * for each role; ids of rows and tombstones are not used again.
 */
public interface Ledger extends AutoCloseable {

  /** A random id made when this ledger was created or found restored. */
  UUID incarnation();

  /** 32 random bytes, made with the incarnation; signs tokens. */
  byte[] secret();

  /**
   * Whether this ledger is not known to be the newest one of this host: its file was lost, put back
   * or came from another host. The host then starts no VM without its peers' answer or force.
   */
  boolean restored();

  /**
   * Whether this ledger knows all that was ever written to it, tombstones that have expired apart:
   * it was never lost, nor put back. An object of a migration without a row is nobody's only then.
   */
  boolean whole();

  /**
   * Ends {@link #restored} on an operator's word, with an audit row. In the same transaction every
   * unended row becomes {@link LedgerRow#doubtful}, and every export CLOSED: what was open when the
   * copy was made may be a running guest's disk by now.
   */
  void acceptRestored(AuditRow audit);

  /**
   * Names of the exports that may exist by this ledger's word; all others are leftovers. None while
   * it is {@link #restored}: what was open when the copy was made may be a running guest's disk by
   * now.
   */
  default Set<String> openExports() {
    if (restored()) {
      return Set.of();
    }
    return journal().stream()
        .filter(e -> e.kind() == JournalEntry.Kind.EXPORT)
        .filter(e -> e.standing() == JournalEntry.Standing.OPEN)
        .map(JournalEntry::name)
        .collect(Collectors.toSet());
  }

  Optional<LedgerRow> find(MigrationId migration, Role role);

  /** All rows, tombstones included, oldest first. */
  List<LedgerRow> rows();

  /** The unended rows of a VM: none, one, or one for each role within one host. */
  List<LedgerRow> unended(UUID vm);

  /**
   * Adds a row.
   *
   * @return the row as written
   * @throws LedgerConflictException if the id is taken, or the VM has an unended row
   */
  LedgerRow insert(LedgerRow row);

  /**
   * Changes a row, if it is still as {@code seen}.
   *
   * @return the row as written
   * @throws LedgerConflictException if it is not, or the transition is none
   */
  LedgerRow update(LedgerRow seen, LedgerRow next);

  /** The same, with an audit row in the same transaction. */
  LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit);

  /**
   * Forgets tombstones whose expiry has passed. Those of rows that were forced stay: a peer that
   * was away for longer must hear of it, and must not take the row's absence for its end.
   */
  void purge(Instant now);

  /** Notes an object before it is created. Idempotent. */
  void intend(JournalEntry entry);

  /** Notes several in one transaction. */
  void intend(List<JournalEntry> entries);

  /** Marks every export of the migration CLOSED, before any of them is closed. */
  void closeExports(MigrationId migration);

  /** Forgets an object that is gone, or has become the VM's own. Idempotent. */
  void done(JournalEntry entry);

  /** The objects of one migration, in the order of {@link JournalEntry.Kind}. */
  List<JournalEntry> journal(MigrationId migration);

  /** All objects; OPEN exports are those that may exist on this host. */
  List<JournalEntry> journal();

  void audit(AuditRow row);

  /** Oldest first. */
  List<AuditRow> audits();

  @Override
  void close();
}
