package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Randomness;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
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
          + "outcome,forced,settled,cleaned,ended,boot,created,updated,expiry,version";

  private static final List<String> SCHEMA =
      List.of(
          "CREATE TABLE IF NOT EXISTS host(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
          """
          CREATE TABLE IF NOT EXISTS migration(
            migration TEXT NOT NULL, role TEXT NOT NULL, vm TEXT NOT NULL, state TEXT NOT NULL,
            peer_url TEXT NOT NULL, peer_fingerprint TEXT NOT NULL, peer_incarnation TEXT NOT NULL,
            key TEXT NOT NULL, token TEXT NOT NULL, plan TEXT NOT NULL, metadata TEXT NOT NULL,
            outcome TEXT, forced INTEGER NOT NULL, settled INTEGER NOT NULL,
            cleaned INTEGER NOT NULL, ended INTEGER NOT NULL, boot TEXT NOT NULL,
            created TEXT NOT NULL, updated TEXT NOT NULL, expiry TEXT NOT NULL,
            version INTEGER NOT NULL, PRIMARY KEY(migration, role)) STRICT\
          """,
          "CREATE UNIQUE INDEX IF NOT EXISTS one_unended ON migration(vm, role) WHERE ended = 0",
          """
          CREATE TABLE IF NOT EXISTS journal(
            migration TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL,
            standing TEXT NOT NULL, PRIMARY KEY(migration, kind, name)) STRICT\
          """,
          """
          CREATE TABLE IF NOT EXISTS audit(
            at TEXT NOT NULL, operator TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
            statement TEXT NOT NULL) STRICT\
          """);

  private final Path file;
  private Connection connection;

  /** Whether a failed write may have left the connection in the middle of something. */
  private boolean unsure;

  private final LedgerMarker marker;
  private final Supplier<Instant> clock;
  private final UUID incarnation;
  private final byte[] secret;
  private long decisions;
  private boolean restored;

  private SqliteLedger(
      Path file,
      Connection connection,
      LedgerMarker marker,
      Supplier<Instant> clock,
      Identity identity) {
    this.file = file;
    this.connection = connection;
    this.marker = marker;
    this.clock = clock;
    this.incarnation = identity.incarnation;
    this.secret = identity.secret;
    this.decisions = identity.decisions;
    this.restored = identity.restored;
  }

  private record Identity(UUID incarnation, byte[] secret, long decisions, boolean restored) {}

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
    try {
      if (!Files.exists(file)) {
        Files.createFile(
            file,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      }
      LedgerMarker marker = new LedgerMarker(markerFile);
      Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file);
      try {
        try (Statement statement = connection.createStatement()) {
          prepare(statement);
          for (String sql : SCHEMA) {
            statement.execute(sql);
          }
        }
        connection.setAutoCommit(false);
        Identity identity = identify(connection, marker, host, random);
        connection.commit();
        marker.write(new LedgerMarker.Mark(identity.incarnation, identity.decisions));
        return new SqliteLedger(file, connection, marker, clock, identity);
      } catch (SQLException | IOException | RuntimeException e) {
        connection.close();
        marker.close();
        throw e;
      }
    } catch (SQLException | IOException e) {
      throw new LedgerException("cannot open the ledger " + file, e);
    }
  }

  private static void prepare(Statement statement) throws SQLException {
    // Exclusive before WAL: then no shared memory is used, for which a full disk has no room.
    statement.execute("PRAGMA locking_mode=EXCLUSIVE");
    statement.execute("PRAGMA journal_mode=WAL");
    statement.execute("PRAGMA synchronous=FULL");
  }

  /**
   * A new connection after a write that failed, on a full disk for one: SQLite has taken the
   * transaction back by itself then, and the driver would commit each statement after it alone. The
   * file says what is true, also where the write that failed has reached it.
   */
  private void reopen() {
    try {
      connection.close();
      connection = DriverManager.getConnection("jdbc:sqlite:" + file);
      try (Statement statement = connection.createStatement()) {
        prepare(statement);
      }
      connection.setAutoCommit(false);
      long held = host(connection, "decisions").map(Long::parseLong).orElse(-1L);
      if (!host(connection, "incarnation").equals(Optional.of(incarnation.toString()))
          || held < decisions) {
        throw new LedgerException(
            "the ledger %s is another than before: it holds %d decisions, not %d"
                .formatted(file, held, decisions));
      }
      restored = host(connection, "restored").equals(Optional.of("true"));
      if (held != decisions) {
        decisions = held;
        marker.write(new LedgerMarker.Mark(incarnation, decisions));
      }
      connection.commit();
      unsure = false;
    } catch (SQLException | IOException e) {
      throw new LedgerException("cannot open the ledger " + file + " again", e);
    }
  }

  private static Identity identify(
      Connection connection, LedgerMarker marker, String host, Randomness random)
      throws SQLException, IOException {
    Optional<LedgerMarker.Mark> mark = marker.read();
    Optional<String> known = host(connection, "incarnation");
    long held = host(connection, "decisions").map(Long::parseLong).orElse(0L);
    boolean same =
        known.isPresent()
            && mark.isPresent()
            && mark.get().incarnation().toString().equals(known.get())
            // The ledger is written first: after a crash between the two it is one ahead.
            && (held == mark.get().decisions() || held == mark.get().decisions() + 1)
            && host(connection, "host").equals(Optional.of(host));
    if (same) {
      return new Identity(
          UUID.fromString(known.get()),
          HexFormat.of().parseHex(host(connection, "secret").orElseThrow()),
          held,
          host(connection, "restored").equals(Optional.of("true")));
    }
    boolean first = known.isEmpty() && mark.isEmpty();
    Identity fresh = new Identity(random.uuid(), random.bytes(32), held, !first);
    host(connection, "incarnation", fresh.incarnation.toString());
    host(connection, "secret", HexFormat.of().formatHex(fresh.secret));
    host(connection, "host", host);
    host(connection, "restored", Boolean.toString(fresh.restored));
    host(connection, "decisions", Long.toString(held));
    return fresh;
  }

  private static Optional<String> host(Connection connection, String name) throws SQLException {
    try (PreparedStatement statement =
        connection.prepareStatement("SELECT value FROM host WHERE name = ?")) {
      statement.setString(1, name);
      try (ResultSet found = statement.executeQuery()) {
        return found.next() ? Optional.of(found.getString(1)) : Optional.empty();
      }
    }
  }

  private static void host(Connection connection, String name, String value) throws SQLException {
    try (PreparedStatement statement =
        connection.prepareStatement("INSERT OR REPLACE INTO host VALUES(?, ?)")) {
      statement.setString(1, name);
      statement.setString(2, value);
      statement.executeUpdate();
    }
  }

  @Override
  public UUID incarnation() {
    return incarnation;
  }

  @Override
  public byte[] secret() {
    return secret.clone();
  }

  @Override
  public synchronized boolean restored() {
    return restored;
  }

  @Override
  public synchronized void acceptRestored(AuditRow audit) {
    write(() -> {
      host(connection, "restored", "false");
      insertAudit(audit);
      return true;
    });
    restored = false;
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
    return write(() -> {
      LedgerRow written = LedgerRules.inserted(row, rows(), clock.get());
      store("INSERT INTO", written);
      decided();
      return written;
    });
  }

  @Override
  public synchronized LedgerRow update(LedgerRow seen, LedgerRow next) {
    return write(() -> change(seen, next));
  }

  @Override
  public synchronized LedgerRow update(LedgerRow seen, LedgerRow next, AuditRow audit) {
    return write(() -> {
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
    decided();
    return written;
  }

  private void decided() throws SQLException {
    host(connection, "decisions", Long.toString(decisions + 1));
  }

  private void store(String verb, LedgerRow row) throws SQLException {
    try (PreparedStatement statement =
        connection.prepareStatement(
            verb + " migration(" + COLUMNS + ") VALUES(" + "?,".repeat(20) + "?)")) {
      int i = 1;
      statement.setString(i++, row.migration().toString());
      statement.setString(i++, row.role().name());
      statement.setString(i++, row.vm().toString());
      statement.setString(i++, row.state().name());
      statement.setString(i++, row.peerUrl());
      statement.setString(i++, row.peerFingerprint());
      statement.setString(i++, row.peerIncarnation().toString());
      statement.setString(i++, row.key());
      statement.setString(i++, row.token());
      statement.setString(i++, row.plan());
      statement.setString(i++, row.metadata());
      statement.setString(i++, row.outcome().orElse(null));
      statement.setBoolean(i++, row.forced());
      statement.setBoolean(i++, row.settled());
      statement.setBoolean(i++, row.cleaned());
      statement.setBoolean(i++, row.ended());
      statement.setString(i++, row.boot());
      statement.setString(i++, row.created().toString());
      statement.setString(i++, row.updated().toString());
      statement.setString(i++, row.expiry().toString());
      statement.setLong(i++, row.version());
      statement.executeUpdate();
    }
  }

  private List<LedgerRow> read(String clause, String... values) {
    return query(
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
                Instant.parse(found.getString("created")),
                Instant.parse(found.getString("updated")),
                Instant.parse(found.getString("expiry")),
                found.getLong("version")),
        values);
  }

  @Override
  public synchronized void purge(Instant now) {
    for (LedgerRow row : rows()) {
      if (row.ended() && row.expiry().isBefore(now)) {
        execute(
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
    write(() -> {
      for (JournalEntry entry : entries) {
        statement(
            "INSERT OR IGNORE INTO journal VALUES(?, ?, ?, ?, ?)",
            entry.migration().toString(),
            entry.kind().name(),
            entry.name(),
            entry.detail(),
            entry.standing().name());
      }
      return true;
    });
  }

  @Override
  public synchronized void closeExports(MigrationId migration) {
    execute(
        "UPDATE journal SET standing = 'CLOSED' WHERE migration = ? AND kind = 'EXPORT'",
        migration.toString());
  }

  @Override
  public synchronized void done(JournalEntry entry) {
    execute(
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
            query(
                "SELECT migration, kind, name, detail, standing FROM journal " + clause,
                row ->
                    new JournalEntry(
                        MigrationId.parse(row.getString(1)),
                        JournalEntry.Kind.valueOf(row.getString(2)),
                        row.getString(3),
                        row.getString(4),
                        JournalEntry.Standing.valueOf(row.getString(5))),
                values));
    found.sort(
        java.util.Comparator.comparing(JournalEntry::kind).thenComparing(JournalEntry::name));
    return List.copyOf(found);
  }

  @Override
  public synchronized void audit(AuditRow row) {
    write(() -> {
      insertAudit(row);
      return true;
    });
  }

  private void insertAudit(AuditRow row) throws SQLException {
    statement(
        "INSERT INTO audit VALUES(?, ?, ?, ?, ?)",
        row.at().toString(),
        row.operator(),
        row.action(),
        row.subject(),
        row.statement());
  }

  @Override
  public synchronized List<AuditRow> audits() {
    return query(
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
    try (LedgerMarker closing = marker) {
      connection.close();
    } catch (SQLException | IOException e) {
      throw new LedgerException("cannot close the ledger", e);
    }
  }

  private interface Reader<T> {
    T read(ResultSet row) throws SQLException;
  }

  private interface Change<T> {
    T make() throws SQLException;
  }

  private <T> List<T> query(String sql, Reader<T> reader, String... values) {
    if (unsure) {
      reopen();
    }
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) {
        statement.setString(i + 1, values[i]);
      }
      List<T> all = new ArrayList<>();
      try (ResultSet found = statement.executeQuery()) {
        while (found.next()) {
          all.add(reader.read(found));
        }
      }
      return List.copyOf(all);
    } catch (SQLException | IllegalArgumentException e) {
      throw new LedgerException("cannot read the ledger", e);
    }
  }

  private void statement(String sql, String... values) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) {
        statement.setString(i + 1, values[i]);
      }
      statement.executeUpdate();
    }
  }

  private void execute(String sql, String... values) {
    write(() -> {
      statement(sql, values);
      return true;
    });
  }

  /** One transaction; on return it, and the marker after it, are on stable storage. */
  private <T> T write(Change<T> change) {
    if (unsure) {
      reopen();
    }
    try {
      T result = change.make();
      long next = host(connection, "decisions").map(Long::parseLong).orElse(0L);
      connection.commit();
      if (next != decisions) {
        decisions = next;
        marker.write(new LedgerMarker.Mark(incarnation, decisions));
      }
      return result;
    } catch (LedgerConflictException e) {
      rollback(e);
      throw e;
    } catch (SQLException | IOException | RuntimeException e) {
      rollback(e);
      throw new LedgerException("cannot write the ledger", e);
    }
  }

  private void rollback(Exception cause) {
    try {
      connection.rollback();
    } catch (SQLException e) {
      cause.addSuppressed(e);
      unsure = true;
    }
  }
}
