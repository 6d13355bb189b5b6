package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Randomness;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Supplier;

/**
 * The ledger in a SQLite file of its own: WAL, {@code synchronous=FULL}, so that a commit is one
 * fdatasync, about a millisecond. One connection, one lock: the ledger sees a few dozen changes per
 * migration.
 */
public final class SqliteLedger implements Ledger {
  private static final String COLUMNS =
      "migration,role,vm,state,peer_url,peer_fingerprint,peer_incarnation,key,token,plan,metadata,"
          + "outcome,forced,settled,cleaned,ended,boot,steering,created,updated,expiry,version";

  private final LedgerFile file;
  private final Supplier<Instant> clock;

  private SqliteLedger(LedgerFile file, Supplier<Instant> clock) {
    this.file = file;
    this.clock = clock;
  }

  /**
   * Opens or creates the ledger.
   *
   * @param file the SQLite file; readable by its owner only
   * @param markerFile apart from it, best on another file system: see {@link #restored}
   * @param host the host's own identity, for example its machine id
   * @throws LedgerException if it cannot be read: the server must not start then
   */
  public static SqliteLedger open(
      Path file, Path markerFile, String host, Randomness random, Supplier<Instant> clock) {
    return new SqliteLedger(LedgerFile.open(file, markerFile, host, random), clock);
  }

  @Override
  public UUID incarnation() {
    return file.incarnation();
  }

  @Override
  public byte[] secret() {
    return file.secret();
  }

  @Override
  public synchronized boolean restored() {
    return file.restored();
  }

  @Override
  public boolean whole() {
    return file.whole();
  }

  @Override
  public synchronized void acceptRestored(AuditRow audit) {
    file.acceptRestored(() -> {
      insertAudit(audit);
      file.statement("UPDATE migration SET boot = '' WHERE ended = 0");
      file.statement(
          "UPDATE journal SET standing = ? WHERE kind = ?",
          JournalEntry.Standing.CLOSED.name(),
          JournalEntry.Kind.EXPORT.name());
    });
  }

  @Override
  public synchronized Optional<LedgerRow> find(MigrationId migration, Role role) {
    return read("WHERE migration = ? AND role = ?", migration.toString(), role.name()).stream()
        .findFirst();
  }

  @Override
  public synchronized List<LedgerRow> rows() {
    return read("ORDER BY created, rowid");
  }

  @Override
  public synchronized List<LedgerRow> unended(UUID vm) {
    return read("WHERE ended = 0 AND vm = ? ORDER BY role DESC", vm.toString());
  }

  @Override
  public synchronized LedgerRow insert(LedgerRow row) {
    return file.write(() -> {
      LedgerRow written = LedgerRules.inserted(row, rows(), clock.get());
      store("INSERT INTO", written);
      file.decided();
      return written;
    });
  }

  @Override
  public synchronized LedgerRow update(LedgerRow seen, LedgerRow next) {
    return file.write(() -> change(seen, next));
  }

  @Override
  public synchronized LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    return file.write(() -> {
      insertAudit(audit);
      return change(seen, next);
    });
  }

  private LedgerRow change(LedgerRow seen, LedgerRow next) throws SQLException {
    LedgerRow current =
        find(seen.migration(), seen.role())
            .orElseThrow(
                () -> new LedgerConflictException("no row of migration " + seen.migration()));
    LedgerRow written = LedgerRules.updated(current, seen, next, clock.get());
    store("REPLACE INTO", written);
    file.decided();
    return written;
  }

  private void store(String verb, LedgerRow row) throws SQLException {
    file.statement(
        verb + " migration(" + COLUMNS + ") VALUES(" + "?,".repeat(21) + "?)",
        row.migration().toString(),
        row.role().name(),
        row.vm().toString(),
        row.state().name(),
        row.peerUrl(),
        row.peerFingerprint(),
        row.peerIncarnation().toString(),
        row.key(),
        row.token(),
        row.plan(),
        row.metadata(),
        row.outcome().orElse(null),
        row.forced(),
        row.settled(),
        row.cleaned(),
        row.ended(),
        row.boot(),
        row.steering(),
        row.created().toString(),
        row.updated().toString(),
        row.expiry().toString(),
        row.version());
  }

  private List<LedgerRow> read(String clause, String... values) {
    return file.query(
        "SELECT " + COLUMNS + " FROM migration " + clause,
        found ->
            new LedgerRow(
                MigrationId.parse(found.getString("migration")),
                Role.valueOf(found.getString("role")),
                UUID.fromString(found.getString("vm")),
                State.valueOf(found.getString("state")),
                found.getString("peer_url"),
                found.getString("peer_fingerprint"),
                UUID.fromString(found.getString("peer_incarnation")),
                found.getString("key"),
                found.getString("token"),
                found.getString("plan"),
                found.getString("metadata"),
                Optional.ofNullable(found.getString("outcome")),
                found.getBoolean("forced"),
                found.getBoolean("settled"),
                found.getBoolean("cleaned"),
                found.getBoolean("ended"),
                found.getString("boot"),
                found.getString("steering"),
                Instant.parse(found.getString("created")),
                Instant.parse(found.getString("updated")),
                Instant.parse(found.getString("expiry")),
                found.getLong("version")),
        values);
  }

  @Override
  public synchronized void purge(Instant now) {
    for (LedgerRow row : rows()) {
      if (LedgerRules.forgettable(row, now)) {
        file.execute(
            "DELETE FROM migration WHERE migration = ? AND role = ?",
            row.migration().toString(),
            row.role().name());
      }
    }
  }

  @Override
  public synchronized void intend(JournalEntry entry) {
    intend(List.of(entry));
  }

  @Override
  public synchronized void intend(List<JournalEntry> entries) {
    file.run(() -> {
      for (JournalEntry entry : entries) {
        file.statement(
            "INSERT OR IGNORE INTO journal VALUES(?, ?, ?, ?, ?)",
            entry.migration().toString(),
            entry.kind().name(),
            entry.name(),
            entry.detail(),
            entry.standing().name());
      }
    });
  }

  @Override
  public synchronized void closeExports(MigrationId migration) {
    file.execute(
        "UPDATE journal SET standing = 'CLOSED' WHERE migration = ? AND kind = 'EXPORT'",
        migration.toString());
  }

  @Override
  public synchronized void done(JournalEntry entry) {
    file.execute(
        "DELETE FROM journal WHERE migration = ? AND kind = ? AND name = ?",
        entry.migration().toString(),
        entry.kind().name(),
        entry.name());
  }

  @Override
  public synchronized List<JournalEntry> journal(MigrationId migration) {
    return entries("WHERE migration = ?", migration.toString());
  }

  @Override
  public synchronized List<JournalEntry> journal() {
    return entries("");
  }

  private List<JournalEntry> entries(String clause, String... values) {
    List<JournalEntry> found =
        new ArrayList<>(
            file.query(
                "SELECT migration, kind, name, detail, standing FROM journal " + clause,
                row ->
                    new JournalEntry(
                        MigrationId.parse(row.getString(1)),
                        JournalEntry.Kind.valueOf(row.getString(2)),
                        row.getString(3),
                        row.getString(4),
                        JournalEntry.Standing.valueOf(row.getString(5))),
                values));
    found.sort(Comparator.comparing(JournalEntry::kind).thenComparing(JournalEntry::name));
    return List.copyOf(found);
  }

  @Override
  public synchronized void audit(AuditRow row) {
    file.run(() -> insertAudit(row));
  }

  private void insertAudit(AuditRow row) throws SQLException {
    file.statement(
        "INSERT INTO audit VALUES(?, ?, ?, ?, ?)",
        row.at().toString(),
        row.operator(),
        row.action(),
        row.subject(),
        row.statement());
  }

  @Override
  public synchronized List<AuditRow> audits() {
    return file.query(
        "SELECT at, operator, action, subject, statement FROM audit ORDER BY rowid",
        row ->
            new AuditRow(
                Instant.parse(row.getString(1)),
                row.getString(2),
                row.getString(3),
                row.getString(4),
                row.getString(5)));
  }

  @Override
  public synchronized void close() {
    file.close();
  }
}
