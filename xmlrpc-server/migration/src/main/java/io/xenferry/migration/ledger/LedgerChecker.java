package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

/**
 * Looks for what a ledger must not hold: rows that cannot be read or break a rule, and objects of
 * migrations that nobody knows of or that have ended.
 */
public final class LedgerChecker {
  private LedgerChecker() {}

  /**
   * All faults of a ledger that no server has open, as sentences. What was written last may be in
   * the log beside the file, so SQLite may write to both.
   *
   * @throws LedgerException when the file as a whole cannot be read
   */
  public static List<String> check(Path file) {
    List<String> faults = new ArrayList<>();
    try (Connection sql = DriverManager.getConnection("jdbc:sqlite:" + file);
        Statement s = sql.createStatement()) {
      try (ResultSet r = s.executeQuery("PRAGMA integrity_check")) {
        while (r.next()) {
          if (!r.getString(1).equals("ok")) {
            faults.add(r.getString(1));
          }
        }
      }
      checkHost(s, faults);
      Set<String> known = new HashSet<>();
      Set<String> settled = new HashSet<>();
      checkRows(s, known, settled, faults);
      checkJournal(s, known, settled, faults);
    } catch (SQLException e) {
      throw new LedgerException("cannot read the ledger " + file, e);
    }
    return List.copyOf(faults);
  }

  private static void checkHost(Statement s, List<String> faults) throws SQLException {
    try (ResultSet r =
        s.executeQuery(
            "SELECT count(*) FROM host"
                + " WHERE name IN ('incarnation', 'secret', 'host', 'decisions')")) {
      if (!r.next() || r.getInt(1) != 4) {
        faults.add("it does not say whose it is");
      }
    }
  }

  private static void checkRows(
      Statement s, Set<String> known, Set<String> settled, List<String> faults)
      throws SQLException {
    Map<UUID, Set<MigrationId>> moving = new HashMap<>();
    try (ResultSet r = s.executeQuery("SELECT * FROM migration")) {
      while (r.next()) {
        String name = r.getString("role") + " of migration " + r.getString("migration");
        try {
          MigrationId id = MigrationId.parse(r.getString("migration"));
          Role role = Role.valueOf(r.getString("role"));
          State state = State.valueOf(r.getString("state"));
          UUID vm = UUID.fromString(r.getString("vm"));
          Instant expiry = Instant.parse(r.getString("expiry"));
          boolean ended = r.getBoolean("ended");
          known.add(id.toString());
          if (state.role() != role) {
            faults.add(name + ": " + state + " is no state of a " + role);
          }
          if (!ended) {
            moving.computeIfAbsent(vm, any -> new HashSet<>()).add(id);
          } else if (!r.getBoolean("forced")) {
            if (!state.next().isEmpty()) {
              faults.add(name + " has ended in " + state + ", to be kept until " + expiry);
            }
            settled.add(id + " " + role);
          }
        } catch (RuntimeException e) {
          faults.add(name + " cannot be read: " + e.getMessage());
        }
      }
    }
    moving.forEach((vm, ids) -> {
      if (ids.size() > 1) {
        faults.add("VM " + vm + " is in several migrations: " + ids);
      }
    });
  }

  private static void checkJournal(
      Statement s, Set<String> known, Set<String> settled, List<String> faults)
      throws SQLException {
    try (ResultSet r = s.executeQuery("SELECT migration, kind, name, standing FROM journal")) {
      while (r.next()) {
        String migration = r.getString(1);
        String object = r.getString(2) + " " + r.getString(3);
        try {
          JournalEntry.Kind.valueOf(r.getString(2));
          JournalEntry.Standing.valueOf(r.getString(4));
        } catch (IllegalArgumentException e) {
          faults.add(object + " cannot be read: " + e.getMessage());
        }
        if (!known.contains(migration)) {
          faults.add(object + " is of migration " + migration + ", of which there is no row");
        } else if (settled.contains(migration + " " + Role.DESTINATION)) {
          faults.add(object + " is left of migration " + migration + ", which has ended");
        }
      }
    }
  }
}
