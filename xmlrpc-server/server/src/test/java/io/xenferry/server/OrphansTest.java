package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.SqliteLedger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import io.xenferry.model.Value;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.sr.SrDrivers;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VdiInfo;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a server that was killed in the middle of making something has left on its SR. */
class OrphansTest {
  private static final long SIZE = 1 << 20;

  private TestServer server;
  private TestServer.Calls calls;
  private String host;
  private String sr;
  private Path location;

  @BeforeEach
  void start() throws Exception {
    Path directory = Files.createTempDirectory("xenferry");
    server = TestServer.startAt("127.0.0.1", directory, database(directory));
    calls = server.calls();
    host = calls.text("host.get_uuid", calls.only("host"));
    location = directory.resolve("sr");
    sr = calls.text("SR.get_uuid", calls.sr(location));
  }

  @AfterEach
  void stop() throws Exception {
    server.close();
  }

  private static ObjectDatabase database(Path directory) throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  /** Something that happens on the host while no server runs. */
  private interface Meanwhile {
    void happens() throws Exception;
  }

  private void restart(Meanwhile meanwhile) throws Exception {
    server =
        server.again(() -> {
          meanwhile.happens();
          return database(server.directory);
        });
    calls = server.calls();
  }

  /** The volume is there and no record: the server died in between. */
  private UUID volume(Optional<String> tag) throws Exception {
    UUID uuid = UUID.randomUUID();
    StorageRepository repository =
        SrDrivers.installed().ofType("file").attach(sr, Map.of("location", location.toString()));
    try {
      VdiInfo wanted = VdiInfo.request("", SIZE).withUuid(uuid.toString());
      repository.create(
          tag.isEmpty() ? wanted : wanted.withSmConfig(VdiInfo.SM_CONFIG_MIGRATION, tag.get()));
    } finally {
      repository.release();
    }
    return uuid;
  }

  private Ledger ledger() {
    return SqliteLedger.open(
        server.directory.resolve("ledger.db"),
        server.directory.resolve("ledger.marker"),
        host,
        new SecureRandomness(),
        Instant::now);
  }

  private static LedgerRow receiving(MigrationId id) {
    UUID vm = UUID.randomUUID();
    Plan plan = new Plan(vm, vm, "vm", Plan.Power.HALTED, 0, List.of(), false, false, Map.of());
    return new LedgerRow(
        id,
        Role.DESTINATION,
        vm,
        State.RECEIVING,
        "http://127.0.0.1:9",
        "",
        UUID.randomUUID(),
        "ab".repeat(32),
        "",
        StrictJson.text(plan),
        "{}",
        Optional.empty(),
        false,
        false,
        false,
        false,
        "boot",
        Instant.now(),
        Instant.now(),
        Instant.now().plus(Duration.ofHours(1)),
        0);
  }

  private boolean there(UUID vdi) throws Exception {
    try (Stream<Path> files = Files.walk(location)) {
      return files.anyMatch(file -> file.getFileName().toString().contains(vdi.toString()));
    }
  }

  private boolean recorded(UUID vdi) {
    return server.server.context().db().snapshot().byUuid("VDI", vdi.toString()).isPresent();
  }

  @Test
  void aVolumeOfAnUnknownMigrationGoesAndNothingElseDoes() throws Exception {
    MigrationId live = new MigrationId(UUID.randomUUID());
    UUID[] vdis = new UUID[5];
    restart(() -> {
      vdis[0] = volume(Optional.of(UUID.randomUUID().toString()));
      vdis[1] = volume(Optional.empty());
      vdis[2] = volume(Optional.of(live.toString()));
      vdis[3] = volume(Optional.of(live.toString()));
      vdis[4] = volume(Optional.of("nobody's"));
      try (Ledger ledger = ledger()) {
        ledger.insert(receiving(live));
        ledger.intend(
            new JournalEntry(
                live, JournalEntry.Kind.VDI, vdis[3].toString(), sr, JournalEntry.Standing.OPEN));
      }
    });
    assertThat(there(vdis[0])).as("of a migration that nobody knows").isFalse();
    assertThat(recorded(vdis[0])).isFalse();
    assertThat(there(vdis[1])).as("untagged").isTrue();
    assertThat(recorded(vdis[1])).isTrue();
    assertThat(there(vdis[2])).as("of a migration with a row").isTrue();
    assertThat(there(vdis[4])).as("with a tag that names no migration").isTrue();
    // The journaled one is its migration's, which was cut off and undoes what it made.
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .untilAsserted(() -> assertThat(there(vdis[3])).isFalse());
    assertThat(recorded(vdis[3])).isFalse();
  }

  @Test
  void aDiskThatAVmHasIsKeptWhateverItsTagSays() throws Exception {
    String vm = calls.vm("owner", Map.of());
    UUID[] vdis = new UUID[1];
    // While its migration lives it is recorded and attached; then the ledger forgets the migration.
    MigrationId live = new MigrationId(UUID.randomUUID());
    restart(() -> {
      vdis[0] = volume(Optional.of(live.toString()));
      try (Ledger ledger = ledger()) {
        ledger.insert(receiving(live));
      }
    });
    calls.vbd(vm, calls.text("VDI.get_by_uuid", vdis[0].toString()), 0);
    restart(() -> {
      try (Ledger ledger = ledger()) {
        LedgerRow row = ledger.find(live, Role.DESTINATION).orElseThrow();
        ledger.update(row, row.withCleaned().withSettled());
      }
    });
    assertThat(there(vdis[0])).isTrue();
  }

  @Test
  void withALedgerThatWasPutBackNothingIsRemoved() throws Exception {
    UUID[] vdis = new UUID[1];
    restart(() -> {
      vdis[0] = volume(Optional.of(UUID.randomUUID().toString()));
      Files.delete(server.directory.resolve("ledger.db"));
    });
    assertThat(there(vdis[0])).isTrue();
    assertThat(server.server.coordinator().statuses()).isEmpty();
    // What an operator has to accept by the command line or this route, before anything starts.
    String vm = calls.vm("kept down", Map.of());
    SessionTest.assertCode("OPERATION_NOT_ALLOWED", () -> calls.call("VM.start", vm, false, false));
    assertThat(Rest.post(server, "/v1/migrations/accept-restored-ledger", "root:wrong"))
        .isEqualTo(401);
    assertThat(
            Rest.post(server, "/v1/migrations/accept-restored-ledger", "root:" + server.password))
        .isEqualTo(200);
    calls.call("VM.start", vm, false, false);
    assertThat(calls.call("VM.get_power_state", vm)).isEqualTo(Value.of("Running"));
    calls.call("VM.hard_shutdown", vm);
    // What had arrived, and was not shown yet, would have a tag and no row as well.
    restart(() -> {});
    assertThat(there(vdis[0])).as("of a migration that the lost ledger may have known").isTrue();
  }
}
