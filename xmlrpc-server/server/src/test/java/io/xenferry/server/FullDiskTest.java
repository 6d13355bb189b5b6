package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.migration.ledger.AuditRow;
import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.ledger.SqliteLedger;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.SqliteDatabase;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The disk under the state directory is full for a while. */
class FullDiskTest {
  private static final String FILLER = "filler";

  @TempDir private Path temporary;

  @Test
  void theServerGoesOnWhenThereIsSpaceAgain() throws Exception {
    Path disk = Files.createDirectory(temporary.resolve("disk"));
    FullDestinationTest.mount(disk);
    Path filler = disk.resolve(FILLER);
    Path state = Files.createDirectory(disk.resolve("state"));
    TestServer server =
        TestServer.startAt("127.0.0.1", state, SqliteDatabase.open(state.resolve("pool.db")));
    try {
      TestServer.Calls root = server.calls();
      List<String> made = new ArrayList<>();
      made.add(root.text("network.create", RecordsTest.network("before")));
      FullDestinationTest.fill(filler);
      // What the log has room for already goes well; what is answered counts, whatever it is.
      fillUp(root, made);
      for (int i = 0; i < 3; i++) {
        XenApiException full =
            assertCode(
                "INTERNAL_ERROR",
                () -> root.call("network.create", RecordsTest.network("x".repeat(900))));
        assertThat(full.params().getFirst()).contains("full");
        TestServer.Calls another = server.calls();
        assertThat(another.all("network")).containsAll(made);
      }

      Files.delete(filler);

      made.add(root.text("network.create", RecordsTest.network("after")));
      root.call("network.set_name_label", made.getFirst(), "changed");
      List<String> all = root.all("network");
      assertThat(all).containsAll(made);
      server = server.again(() -> SqliteDatabase.open(state.resolve("pool.db")));
      assertThat(server.calls().all("network")).containsExactlyInAnyOrderElementsOf(all);
      assertThat(server.calls().text("network.get_name_label", made.getFirst()))
          .isEqualTo("changed");
    } finally {
      server.close();
      FullDestinationTest.unmount(disk);
    }
  }

  private static void fillUp(TestServer.Calls root, List<String> made) {
    try {
      for (int i = 0; i < 100_000; i++) {
        made.add(root.text("network.create", RecordsTest.network("y".repeat(900))));
      }
      throw new AssertionError("the disk does not become full");
    } catch (XenApiException full) {
      assertThat(full.code()).isEqualTo("INTERNAL_ERROR");
    }
  }

  @Test
  void theLedgerHoldsWhatItSaidItHolds() throws Exception {
    Path state = Files.createDirectory(temporary.resolve("state"));
    FullDestinationTest.mount(state);
    try {
      List<String> written = new ArrayList<>();
      try (SqliteLedger ledger = ledger(state)) {
        FullDestinationTest.fill(state.resolve(FILLER));
        assertThatThrownBy(
                () -> {
                  for (int i = 0; i < 100_000; i++) {
                    audit(ledger, written);
                  }
                })
            .isInstanceOf(LedgerException.class);
        assertThat(written).as("what there is room for on a full disk").hasSizeGreaterThan(200);
        for (int i = 0; i < 3; i++) {
          assertThatThrownBy(() -> audit(ledger, written)).isInstanceOf(LedgerException.class);
          assertThat(ledger.audits()).extracting(AuditRow::subject).isEqualTo(written);
        }
        Files.delete(state.resolve(FILLER));
        audit(ledger, written);
        assertThat(ledger.audits()).extracting(AuditRow::subject).isEqualTo(written);
      }
      try (SqliteLedger ledger = ledger(state)) {
        assertThat(ledger.audits()).extracting(AuditRow::subject).isEqualTo(written);
        assertThat(ledger.restored()).isFalse();
      }
    } finally {
      FullDestinationTest.unmount(state);
    }
  }

  private static SqliteLedger ledger(Path state) {
    return SqliteLedger.open(
        state.resolve("ledger.db"),
        state.resolve("ledger.marker"),
        "host",
        new SecureRandomness(),
        Instant::now);
  }

  private static void audit(SqliteLedger ledger, List<String> written) {
    String subject = "subject " + written.size();
    ledger.audit(new AuditRow(Instant.EPOCH, "root", "test", subject, "z".repeat(2000)));
    written.add(subject);
  }

  @Test
  void aStartSaysThatTheDiskIsFull() {
    assertThatThrownBy(() -> StateDirectory.requireRoom(temporary, Long.MAX_VALUE))
        .isInstanceOf(IOException.class)
        .hasMessageContainingAll("full", temporary.toString());
  }
}
