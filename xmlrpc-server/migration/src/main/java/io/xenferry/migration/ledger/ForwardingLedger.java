package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.UUID;

/** Passes everything on; for ledgers that differ from another in a few calls. */
public abstract class ForwardingLedger implements Ledger {
  private final Ledger ledger;

  protected ForwardingLedger(Ledger ledger) {
    this.ledger = ledger;
  }

  @Override
  public UUID incarnation() {
    return ledger.incarnation();
  }

  @Override
  public byte[] secret() {
    return ledger.secret();
  }

  @Override
  public boolean restored() {
    return ledger.restored();
  }

  @Override
  public boolean whole() {
    return ledger.whole();
  }

  @Override
  public void acceptRestored(AuditRow audit) {
    ledger.acceptRestored(audit);
  }

  @Override
  public Optional<LedgerRow> find(MigrationId migration, Role role) {
    return ledger.find(migration, role);
  }

  @Override
  public List<LedgerRow> rows() {
    return ledger.rows();
  }

  @Override
  public List<LedgerRow> unended(UUID vm) {
    return ledger.unended(vm);
  }

  @Override
  public LedgerRow insert(LedgerRow row) {
    return ledger.insert(row);
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next) {
    return ledger.update(seen, next);
  }

  @Override
  public LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    return ledger.update(seen, next, audit);
  }

  @Override
  public void purge(Instant now) {
    ledger.purge(now);
  }

  @Override
  public void intend(JournalEntry entry) {
    ledger.intend(entry);
  }

  @Override
  public void intend(List<JournalEntry> entries) {
    ledger.intend(entries);
  }

  @Override
  public void closeExports(MigrationId migration) {
    ledger.closeExports(migration);
  }

  @Override
  public void done(JournalEntry entry) {
    ledger.done(entry);
  }

  @Override
  public List<JournalEntry> journal(MigrationId migration) {
    return ledger.journal(migration);
  }

  @Override
  public List<JournalEntry> journal() {
    return ledger.journal();
  }

  @Override
  public void audit(AuditRow row) {
    ledger.audit(row);
  }

  @Override
  public List<AuditRow> audits() {
    return ledger.audits();
  }

  @Override
  public void close() {
    ledger.close();
  }
}
