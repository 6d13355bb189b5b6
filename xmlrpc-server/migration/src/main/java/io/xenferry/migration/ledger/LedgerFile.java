package io.xenferry.migration.ledger;

import io.xenferry.migration.state.Randomness;
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
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The ledger's SQLite file and its marker: whose it is, how many decisions it holds, and
 * transactions that are durable when they return. Its users hold a lock of their own.
 */
final class LedgerFile implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(LedgerFile.class);

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
            steering TEXT NOT NULL DEFAULT '',
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
          """,
          "CREATE TABLE IF NOT EXISTS room(filler BLOB NOT NULL) STRICT");

  /** Of pages in the log, after which SQLite begins it anew. */
  private static final int LOG_PAGES = 256;

  /** Bytes: what a few migrations write while the log is begun anew now and then. */
  private static final int ROOM = 2 << 20;

  private final Path file;
  private final LedgerMarker marker;
  private final UUID incarnation;
  private final byte[] secret;
  private Connection connection;

  /** Whether a failed write may have left the connection in the middle of something. */
  private boolean unsure;

  private long decisions;
  private boolean restored;
  private final boolean whole;

  private LedgerFile(Path file, Connection connection, LedgerMarker marker, Identity identity) {
    this.file = file;
    this.connection = connection;
    this.marker = marker;
    this.incarnation = identity.incarnation;
    this.secret = identity.secret;
    this.decisions = identity.decisions;
    this.restored = identity.restored;
    this.whole = identity.whole;
  }

  private record Identity(
      UUID incarnation, byte[] secret, long decisions, boolean restored, boolean whole) {}

  /** As {@link SqliteLedger#open}. */
  static LedgerFile open(Path file, Path markerFile, String host, Randomness random) {
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
          addColumns(statement);
          makeRoom(statement);
        }
        connection.setAutoCommit(false);
        Identity identity = identify(connection, marker, host, random);
        connection.commit();
        marker.write(new LedgerMarker.Mark(identity.incarnation, identity.decisions));
        return new LedgerFile(file, connection, marker, identity);
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
    statement.execute("PRAGMA wal_autocheckpoint=" + LOG_PAGES);
  }

  /** What files that were made by earlier versions lack. */
  private static void addColumns(Statement statement) throws SQLException {
    try (ResultSet found =
        statement.executeQuery(
            "SELECT 1 FROM pragma_table_info('migration') WHERE name = 'steering'")) {
      if (found.next()) {
        return;
      }
    }
    statement.execute("ALTER TABLE migration ADD COLUMN steering TEXT NOT NULL DEFAULT ''");
  }

  /**
   * Makes file and log larger than they need to be, so that a disk that fills up in the middle of a
   * migration, when a guest may stand still, does not keep it from its end.
   */
  private static void makeRoom(Statement statement) throws SQLException {
    try {
      statement.execute("INSERT INTO room VALUES(zeroblob(" + ROOM + "))");
    } catch (SQLException e) {
      LOG.warn("there is no room for the ledger to grow: {}", e.getMessage());
    }
    statement.execute("DELETE FROM room");
    statement.execute("PRAGMA wal_checkpoint(FULL)");
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
          host(connection, "restored").equals(Optional.of("true")),
          host(connection, "replaced").isEmpty());
    }
    boolean first = known.isEmpty() && mark.isEmpty();
    Identity fresh = new Identity(random.uuid(), random.bytes(32), held, !first, first);
    host(connection, "incarnation", fresh.incarnation.toString());
    host(connection, "secret", HexFormat.of().formatHex(fresh.secret));
    host(connection, "host", host);
    host(connection, "restored", Boolean.toString(fresh.restored));
    if (!fresh.whole) {
      host(connection, "replaced", "true");
    }
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

  UUID incarnation() {
    return incarnation;
  }

  byte[] secret() {
    return secret.clone();
  }

  boolean restored() {
    return restored;
  }

  boolean whole() {
    return whole;
  }

  /** The file is the right one whatever the marker says, once this and the step are durable. */
  void acceptRestored(Step step) {
    run(() -> {
      host(connection, "restored", "false");
      step.take();
    });
    restored = false;
  }

  /** Within a {@link #write}: one more decision. */
  void decided() throws SQLException {
    host(connection, "decisions", Long.toString(decisions + 1));
  }

  interface Reader<T> {
    T read(ResultSet row) throws SQLException;
  }

  interface Change<T> {
    T make() throws SQLException;
  }

  interface Step {
    void take() throws SQLException;
  }

  <T> List<T> query(String sql, Reader<T> reader, String... values) {
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

  /** Within a {@link #write}: one statement with its parameters; null is SQL's. */
  void statement(String sql, @Nullable Object... values) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) {
        statement.setObject(i + 1, values[i]);
      }
      statement.executeUpdate();
    }
  }

  /** One transaction; on return it, and the marker after it, are on stable storage. */
  <T> T write(Change<T> change) {
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

  /** As {@link #write}. */
  void run(Step step) {
    boolean unused =
        write(() -> {
          step.take();
          return true;
        });
  }

  /** One statement as a transaction. */
  void execute(String sql, Object... values) {
    run(() -> statement(sql, values));
  }

  private void rollback(Exception cause) {
    try {
      connection.rollback();
    } catch (SQLException e) {
      cause.addSuppressed(e);
      unsure = true;
    }
  }

  @Override
  public void close() {
    try (LedgerMarker closing = marker) {
      connection.close();
    } catch (SQLException | IOException e) {
      throw new LedgerException("cannot close the ledger", e);
    }
  }
}
