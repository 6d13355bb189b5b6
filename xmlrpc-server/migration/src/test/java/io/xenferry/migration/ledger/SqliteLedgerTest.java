package io.xenferry.migration.ledger;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SqliteLedgerTest extends LedgerContract {
  @TempDir Path folder;

  @Override
  Ledger open() {
    return open("this-host");
  }

  private Ledger open(String host) {
    return SqliteLedger.open(
        folder.resolve("ledger.db"),
        folder.resolve("ledger.mark"),
        host,
        new SecureRandomness(),
        () -> NOW);
  }

  @Override
  Ledger reopen(Ledger killed) {
    killed.close();
    return open();
  }

  @Test
  void anOlderCopyIsFoundOut() throws IOException {
    Ledger ledger = open();
    LedgerRow row = ledger.insert(row(State.SENDING));
    ledger.close();
    Files.copy(folder.resolve("ledger.db"), folder.resolve("backup"));
    ledger = open();
    var incarnation = ledger.incarnation();
    assertThat(ledger.restored()).isFalse();
    ledger.update(row, row.withState(State.SWITCHING));
    ledger.close();
    Files.copy(
        folder.resolve("backup"), folder.resolve("ledger.db"), StandardCopyOption.REPLACE_EXISTING);
    Ledger restored = open();
    assertThat(restored.restored()).isTrue();
    assertThat(restored.incarnation()).isNotEqualTo(incarnation);
    Ledger still = reopen(restored);
    assertThat(still.restored()).isTrue();
    still.acceptRestored(new AuditRow(NOW, "root", "accept-restored-ledger", "", ""));
    Ledger accepted = reopen(still);
    assertThat(accepted.restored()).isFalse();
    assertThat(accepted.whole()).as("what was written since the copy is lost").isFalse();
  }

  @Test
  void aLostLedgerIsFoundOut() throws IOException {
    Ledger ledger = open();
    assertThat(ledger.restored()).isFalse();
    assertThat(ledger.whole()).isTrue();
    ledger.insert(row(State.SENDING));
    ledger.close();
    Files.delete(folder.resolve("ledger.db"));
    assertThat(open().restored()).isTrue();
  }

  @Test
  void aLedgerOfAnotherHostIsFoundOut() {
    open().close();
    assertThat(open("another-host").restored()).isTrue();
  }

  @Test
  void aFileOfAnEarlierVersionGetsWhatItLacks() throws Exception {
    Ledger ledger = open();
    LedgerRow row = ledger.insert(row(State.SENDING));
    ledger.close();
    try (Connection file =
            DriverManager.getConnection("jdbc:sqlite:" + folder.resolve("ledger.db"));
        Statement statement = file.createStatement()) {
      statement.execute("ALTER TABLE migration DROP COLUMN steering");
    }
    Ledger upgraded = open();
    assertThat(upgraded.restored()).isFalse();
    assertThat(upgraded.rows()).containsExactly(row);
    assertThat(upgraded.update(row, row.withSteering("{}")).steering()).isEqualTo("{}");
  }

  @Test
  void onlyItsOwnerReadsIt() throws IOException {
    open().close();
    assertThat(Files.getPosixFilePermissions(folder.resolve("ledger.db")))
        .allMatch(permission -> permission.name().startsWith("OWNER"));
  }
}
