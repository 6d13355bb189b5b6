package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.sqlite.SQLiteConfig;
import org.sqlite.SQLiteErrorCode;
import org.sqlite.SQLiteException;

/**
 * One SQLite file: write-ahead log, synced on every commit, locked for this process as long as it
 * is open. Objects of classes that neither persist nor have events (sessions) are left out.
 */
final class SqliteStore implements Store {
  private static final Logger log = LoggerFactory.getLogger(SqliteStore.class);

  /** "XFDB": tells our files from other SQLite databases. */
  static final int APPLICATION = 0x58464442;

  static final int SCHEMA = 1;

  /** Generations set aside for commits that leave nothing in the file. */
  private static final long RESERVE = 10_000;

  /** Deletions between two looks at how many are remembered: a look walks all of them. */
  private static final int TRIM_EVERY = 1_000;

  /** A write even to a file that needs none: it takes the lock. */
  private static final String OPENED =
      "INSERT INTO meta VALUES ('opened', 1) ON CONFLICT DO UPDATE SET value = value + 1";

  private final Path file;
  private Connection sql;
  private final List<String> faults = new ArrayList<>();
  private int untrimmed;
  private long reserved;
  private long generation;
  private boolean broken;

  private SqliteStore(Path file, Connection sql) {
    this.file = file;
    this.sql = sql;
  }

  static SqliteStore open(Path file) throws DatabaseException {
    make(file);
    Connection sql;
    try {
      sql = connect(file);
    } catch (SQLException e) {
      throw explain(file, e);
    }
    try {
      SqliteStore store = new SqliteStore(file, sql);
      store.prepare();
      return store;
    } catch (SQLException e) {
      closeQuietly(sql);
      throw explain(file, e);
    } catch (DatabaseException e) {
      closeQuietly(sql);
      throw e;
    }
  }

  /** What SQLite puts beside the file gets the same mode. */
  private static void make(Path file) throws DatabaseException {
    try {
      if (!Files.exists(file)) {
        Files.createFile(
            file,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      }
    } catch (IOException e) {
      throw new DatabaseException("the database " + file + " cannot be made: " + e, e);
    }
  }

  private static Connection connect(Path file) throws SQLException {
    SQLiteConfig config = new SQLiteConfig();
    config.setBusyTimeout(0);
    Connection sql = config.createConnection("jdbc:sqlite:" + file);
    try (Statement s = sql.createStatement()) {
      // Exclusive before WAL: then no shared memory is used and the lock stays.
      s.execute("PRAGMA locking_mode=EXCLUSIVE");
    } catch (SQLException e) {
      closeQuietly(sql);
      throw e;
    }
    return sql;
  }

  /**
   * A new connection, after the old one failed: what is in the file is asked anew, since nobody
   * knows what the old one has kept.
   *
   * @throws IOException when the file cannot be written still, or holds what was said to have
   *     failed
   */
  private void reopen() throws IOException {
    closeQuietly(sql);
    try {
      sql = connect(file);
      try (Statement s = sql.createStatement()) {
        log(s);
        if (meta(s, "generation") > generation) {
          throw new DatabaseException(
              file + " holds a change that was answered as failed; restart the server");
        }
        s.execute(OPENED);
        sql.commit();
      }
    } catch (SQLException e) {
      throw explain(file, e);
    }
    broken = false;
    log.info("{} can be written again", file);
  }

  /** Begins transactions that are durable once they are committed. */
  private void log(Statement s) throws SQLException {
    s.execute("PRAGMA journal_mode=WAL");
    s.execute("PRAGMA synchronous=FULL");
    s.execute("PRAGMA foreign_keys=OFF");
    sql.setAutoCommit(false);
  }

  private void prepare() throws SQLException, DatabaseException {
    try (Statement s = sql.createStatement()) {
      int application = number(s, "PRAGMA application_id");
      int version = number(s, "PRAGMA user_version");
      int tables = number(s, "SELECT count(*) FROM sqlite_master");
      if (application != APPLICATION && (application != 0 || tables != 0)) {
        throw new DatabaseException(file + " is a database of something else; choose another file");
      }
      if (version > SCHEMA) {
        throw new DatabaseException(
            "%s was written by a newer version (format %d, this one knows %d); use that version"
                .formatted(file, version, SCHEMA));
      }
      log(s);
      s.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL)");
      s.execute(
          """
          CREATE TABLE IF NOT EXISTS object (
            seq INTEGER PRIMARY KEY,
            class TEXT NOT NULL,
            ref TEXT NOT NULL UNIQUE,
            created INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            fields TEXT NOT NULL)\
          """);
      s.execute(
          """
          CREATE TABLE IF NOT EXISTS deletion (
            deleted INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            class TEXT NOT NULL,
            ref TEXT NOT NULL,
            created INTEGER NOT NULL,
            PRIMARY KEY (deleted, seq))\
          """);
      s.execute("PRAGMA application_id=" + APPLICATION);
      s.execute("PRAGMA user_version=" + SCHEMA);
      s.execute(OPENED);
      sql.commit();
      String check = text(s, "PRAGMA quick_check(1)");
      if (!check.equals("ok")) {
        throw new DatabaseException(damaged(file, check));
      }
      sql.commit();
    }
  }

  /** What was wrong with single rows when they were loaded. */
  List<String> faults() {
    return List.copyOf(faults);
  }

  @Override
  public State load() throws IOException {
    try (Statement s = sql.createStatement()) {
      trim();
      State state = State.EMPTY;
      try (ResultSet r =
          s.executeQuery(
              "SELECT seq, class, ref, created, modified, fields FROM object ORDER BY seq")) {
        while (r.next()) {
          Optional<StoredRow> row = row(r);
          state = row.isPresent() ? state.with(row.get()) : state.withNextSeq(r.getLong(1) + 1);
        }
      }
      try (ResultSet r = s.executeQuery("SELECT deleted, seq, class, ref, created FROM deletion")) {
        while (r.next()) {
          state =
              state
                  .remembering(
                      new Deletion(
                          r.getString(3), r.getString(4), r.getLong(2), r.getLong(5), r.getLong(1)))
                  .withNextSeq(r.getLong(2) + 1);
        }
      }
      long next = Math.max(meta(s, "generation"), meta(s, "reserved"));
      generation = next;
      reserved = next;
      state = state.withNextSeq(meta(s, "next_seq"));
      sql.commit();
      return state.atGeneration(next);
    } catch (SQLException e) {
      throw explain(file, e);
    }
  }

  private Optional<StoredRow> row(ResultSet r) throws SQLException {
    String className = r.getString(2);
    String ref = r.getString(3);
    Optional<ClassDef> found = DataModel.findClass(className);
    if (found.isEmpty()) {
      fault("%s %s: the data model has no such class; left alone".formatted(className, ref));
      return Optional.empty();
    }
    ClassDef c = found.get();
    Map<String, Value> stored;
    try {
      stored = RowJson.read(r.getString(6));
    } catch (RuntimeException e) {
      fault("%s %s: its values cannot be read: %s".formatted(className, ref, e.getMessage()));
      return Optional.empty();
    }
    Value[] values = new Value[c.fields().size()];
    for (FieldDef f : c.fields()) {
      Value v = f.view().isPresent() ? Value.EMPTY_ARRAY : stored.get(f.name());
      if (v == null) {
        v = f.initial();
      } else if (f.view().isEmpty()) {
        Optional<String> wrong = Types.fault(f.type(), v);
        if (wrong.isPresent()) {
          fault(
              "%s %s %s: %s; the default is used".formatted(className, ref, f.name(), wrong.get()));
          v = f.initial();
        }
      }
      values[f.index()] = v;
    }
    return Optional.of(new StoredRow(c, ref, r.getLong(1), r.getLong(4), r.getLong(5), values));
  }

  private void fault(String what) {
    log.error("{}: {}", file, what);
    faults.add(what);
  }

  @Override
  public void commit(List<Commit> commits, long newGeneration) throws IOException {
    List<RowWrite> writes = commits.stream().flatMap(c -> c.writes().stream()).toList();
    List<RowWrite> durable = writes.stream().filter(w -> durable(w.row())).toList();
    if (durable.isEmpty() && newGeneration < reserved) {
      return; // sessions, for one: people may log in while the disk is full
    }
    if (broken) {
      reopen();
    }
    long ahead = newGeneration < reserved ? reserved : newGeneration + RESERVE;
    try {
      try (Writer writer = new Writer()) {
        for (RowWrite w : durable) {
          writer.write(w);
        }
      }
      untrimmed += (int) durable.stream().filter(w -> w instanceof RowWrite.Remove).count();
      if (untrimmed >= TRIM_EVERY) {
        trim();
        untrimmed = 0;
      }
      meta("generation", newGeneration);
      meta("reserved", ahead);
      long lastSeq = writes.stream().mapToLong(w -> w.row().seq()).max().orElse(0);
      meta("next_seq", lastSeq + 1);
      sql.commit();
      generation = newGeneration;
      reserved = ahead;
    } catch (SQLException e) {
      undo(e);
      throw explain(file, e);
    }
  }

  /**
   * After a failed commit nobody knows what SQLite kept, unless the file can be asked. On a full
   * disk it has taken back the transaction by itself, and the driver goes on as if there were one:
   * only a new connection will do.
   */
  private void undo(SQLException cause) {
    try {
      sql.rollback();
      try (Statement s = sql.createStatement()) {
        long kept = meta(s, "generation");
        broken = kept > generation;
        sql.rollback();
      }
    } catch (SQLException e) {
      cause.addSuppressed(e);
      broken = true;
    }
  }

  /** Forgets deletions beyond those that are remembered. */
  private void trim() throws SQLException {
    try (Statement s = sql.createStatement()) {
      s.execute(
          "DELETE FROM deletion WHERE (deleted, seq) IN (SELECT deleted, seq FROM deletion"
              + " ORDER BY deleted DESC, seq DESC LIMIT -1 OFFSET "
              + State.DELETIONS_KEPT
              + ")");
    }
  }

  private static boolean durable(StoredRow row) {
    return durable(row.classDef());
  }

  /** Whether objects of the class are in the file. */
  static boolean durable(ClassDef c) {
    return c.persistent() || c.events();
  }

  /** The rows of one commit; each statement is prepared once for all of them. */
  private final class Writer implements AutoCloseable {
    private final Map<String, PreparedStatement> statements = new HashMap<>();

    private PreparedStatement statement(String text) throws SQLException {
      PreparedStatement known = statements.get(text);
      if (known == null) {
        known = sql.prepareStatement(text);
        statements.put(text, known);
      }
      return known;
    }

    void write(RowWrite w) throws SQLException {
      StoredRow row = w.row();
      switch (w) {
        case RowWrite.Put _ -> {
          PreparedStatement p =
              statement(
                  "INSERT INTO object VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (seq) DO UPDATE"
                      + " SET modified = excluded.modified, fields = excluded.fields");
          p.setLong(1, row.seq());
          p.setString(2, row.classDef().name());
          p.setString(3, row.ref());
          p.setLong(4, row.created());
          p.setLong(5, row.modified());
          p.setString(6, RowJson.write(fields(row)));
          p.executeUpdate();
        }
        case RowWrite.Touch _ -> {
          PreparedStatement p = statement("UPDATE object SET modified = ? WHERE seq = ?");
          p.setLong(1, row.modified());
          p.setLong(2, row.seq());
          p.executeUpdate();
        }
        case RowWrite.Remove r -> remove(r);
      }
    }

    private void remove(RowWrite.Remove r) throws SQLException {
      StoredRow row = r.row();
      PreparedStatement p = statement("DELETE FROM object WHERE seq = ?");
      p.setLong(1, row.seq());
      p.executeUpdate();
      if (row.classDef().events()) {
        PreparedStatement d = statement("INSERT INTO deletion VALUES (?, ?, ?, ?, ?)");
        d.setLong(1, r.deleted());
        d.setLong(2, row.seq());
        d.setString(3, row.classDef().name());
        d.setString(4, row.ref());
        d.setLong(5, row.created());
        d.executeUpdate();
      }
    }

    @Override
    public void close() throws SQLException {
      for (PreparedStatement p : statements.values()) {
        p.close();
      }
    }
  }

  private static Map<String, Value> fields(StoredRow row) {
    Map<String, Value> out = new LinkedHashMap<>();
    for (FieldDef f : row.classDef().fields()) {
      if (f.view().isEmpty()) {
        out.put(f.name(), row.value(f));
      }
    }
    return out;
  }

  private void meta(String key, long value) throws SQLException {
    try (PreparedStatement p =
        sql.prepareStatement(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE"
                + " SET value = max(value, excluded.value)")) {
      p.setString(1, key);
      p.setLong(2, value);
      p.executeUpdate();
    }
  }

  private static long meta(Statement s, String key) throws SQLException {
    try (ResultSet r = s.executeQuery("SELECT value FROM meta WHERE key = '" + key + "'")) {
      return r.next() ? r.getLong(1) : 0;
    }
  }

  private static int number(Statement s, String query) throws SQLException {
    try (ResultSet r = s.executeQuery(query)) {
      return r.next() ? r.getInt(1) : 0;
    }
  }

  private static String text(Statement s, String query) throws SQLException {
    try (ResultSet r = s.executeQuery(query)) {
      return r.next() ? r.getString(1) : "";
    }
  }

  @Override
  public void close() {
    closeQuietly(sql);
  }

  private static void closeQuietly(Connection sql) {
    try {
      sql.close();
    } catch (SQLException e) {
      log.warn("A database did not close cleanly; nothing committed is lost", e);
    }
  }

  private static DatabaseException explain(Path file, SQLException e) {
    SQLiteErrorCode code =
        e instanceof SQLiteException s ? s.getResultCode() : SQLiteErrorCode.UNKNOWN_ERROR;
    return switch (code) {
      case SQLITE_BUSY, SQLITE_LOCKED ->
          new DatabaseException(file + " is in use by another process; stop that one first", e);
      case SQLITE_NOTADB ->
          new DatabaseException(file + " is no database, or its beginning is damaged", e);
      case SQLITE_CORRUPT ->
          new DatabaseException(damaged(file, String.valueOf(e.getMessage())), e);
      case SQLITE_FULL -> new DatabaseException("The disk of " + file + " is full", e);
      default -> new DatabaseException("The database " + file + ": " + e.getMessage(), e);
    };
  }

  private static String damaged(Path file, String how) {
    return "%s is damaged (%s); restore it from a backup".formatted(file, how);
  }
}
