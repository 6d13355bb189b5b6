package io.xenferry.migration.ledger;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.time.Instant;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LedgerCheckerTest {
  private static final Instant NOW = Instant.parse("2030-01-01T00:00:00Z");

  @TempDir private Path folder;

  /** A migration under way, and one that has ended. */
  @BeforeEach
  void make() {
    try (SqliteLedger ledger =
        SqliteLedger.open(
            file(), folder.resolve("mark"), "host", new SecureRandomness(), () -> NOW)) {
      LedgerRow receiving = ledger.insert(row(State.RECEIVING, false));
      ledger.intend(
          new JournalEntry(
              receiving.migration(),
              JournalEntry.Kind.VDI,
              "disk",
              "",
              JournalEntry.Standing.OPEN));
      ledger.insert(row(State.ABORTED, true));
    }
  }

  private Path file() {
    return folder.resolve("ledger.db");
  }

  private static LedgerRow row(State state, boolean ended) {
    return new LedgerRow(
        new MigrationId(UUID.randomUUID()),
        Role.DESTINATION,
        UUID.randomUUID(),
        state,
        "",
        "",
        UUID.randomUUID(),
        "key",
        "token",
        "{}",
        "document",
        Optional.empty(),
        false,
        ended,
        ended,
        ended,
        "boot",
        NOW,
        NOW,
        NOW.plusSeconds(60),
        0);
  }

  private void sql(String statement) throws Exception {
    try (Connection c = DriverManager.getConnection("jdbc:sqlite:" + file());
        Statement s = c.createStatement()) {
      s.execute(statement);
    }
  }

  @Test
  void nothingIsWrongWithOneThatFollowsTheRules() {
    assertThat(LedgerChecker.check(file())).isEmpty();
  }

  @Test
  void whatAMigrationHasLeftIsFound() throws Exception {
    sql("UPDATE journal SET migration = (SELECT migration FROM migration WHERE ended = 1)");
    assertThat(LedgerChecker.check(file()))
        .singleElement()
        .satisfies(fault -> assertThat(fault).startsWith("VDI disk is left of"));
    sql("UPDATE journal SET migration = 'nobody'");
    assertThat(LedgerChecker.check(file()))
        .singleElement()
        .satisfies(fault -> assertThat(fault).contains("of which there is no row"));
  }

  @Test
  void aRowThatBreaksARuleIsFound() throws Exception {
    sql(
        "UPDATE migration SET vm = (SELECT vm FROM migration WHERE ended = 0),"
            + " role = 'SOURCE', state = 'SENDING', ended = 0 WHERE ended = 1");
    assertThat(LedgerChecker.check(file()))
        .singleElement()
        .satisfies(fault -> assertThat(fault).contains("in several migrations"));
  }

  @Test
  void aRowOfTheWrongRoleIsFound() throws Exception {
    sql("UPDATE migration SET state = 'SENDING' WHERE ended = 0");
    assertThat(LedgerChecker.check(file()))
        .singleElement()
        .satisfies(fault -> assertThat(fault).contains("no state of a DESTINATION"));
    sql("UPDATE migration SET state = 'SIDEWAYS' WHERE ended = 0");
    assertThat(LedgerChecker.check(file()))
        .anySatisfy(fault -> assertThat(fault).contains("cannot be read", "SIDEWAYS"));
  }

  @Test
  void aRowThatHasEndedTooEarlyIsFound() throws Exception {
    sql("UPDATE migration SET state = 'READY' WHERE ended = 1");
    assertThat(LedgerChecker.check(file()))
        .singleElement()
        .satisfies(fault -> assertThat(fault).contains("has ended in READY"));
  }

  @Test
  void whatIsNoLedgerIsRefused() throws Exception {
    Path other = Files.writeString(folder.resolve("other"), "this is no database at all");
    assertThatThrownBy(() -> LedgerChecker.check(other)).isInstanceOf(LedgerException.class);
  }
}
