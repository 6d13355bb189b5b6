package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.sr.AtomicFile;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** VDI.pool_migrate: a disk changes its SR within the host. */
class DiskMoveTest {
  private static final long SIZE = 8 << 20;

  private TestServer server;
  private TestServer.Calls calls;
  private String from;
  private String to;
  private String vm;
  private String vdi;
  private String uuid;

  @BeforeEach
  void start() throws Exception {
    Path directory = Files.createTempDirectory("xenferry");
    server =
        TestServer.startAt(
            "127.0.0.1", directory, SqliteDatabase.open(directory.resolve("pool.db")));
    calls = server.calls();
    from = calls.sr(directory.resolve("from"));
    to = calls.sr(directory.resolve("to"));
    vm = calls.vm("mover", Map.of());
    vdi = calls.vdi(from, "disk", SIZE);
    uuid = calls.text("VDI.get_uuid", vdi);
    calls.vbd(vm, vdi, 0);
    byte[] noise = new byte[3 << 20];
    new Random(1).nextBytes(noise);
    try (RandomAccessFile image = new RandomAccessFile(image("from", uuid).toFile(), "rw")) {
      image.seek(1 << 20);
      image.write(noise);
    }
  }

  @AfterEach
  void stop() throws Exception {
    server.close();
  }

  private Path image(String sr, String vdi) throws Exception {
    return StorageTest.image(server.directory.resolve(sr), vdi);
  }

  private List<Path> images(String sr) throws IOException {
    try (Stream<Path> files = Files.list(server.directory.resolve(sr))) {
      return files.filter(f -> f.toString().endsWith(".raw")).toList();
    }
  }

  private String diskOfVm() throws XenApiException {
    return calls.text("VBD.get_VDI", TestServer.texts(calls.call("VM.get_VBDs", vm)).getFirst());
  }

  private void assertNothingMoved() throws Exception {
    assertThat(diskOfVm()).isEqualTo(vdi);
    assertThat(images("from")).hasSize(1);
    assertThat(images("to")).isEmpty();
    assertThat(TestServer.texts(calls.call("SR.get_VDIs", to))).isEmpty();
    assertThat(calls.call("VM.get_current_operations", vm)).isEqualTo(Value.EMPTY_STRUCT);
    if (Files.exists(server.directory.resolve("moves"))) {
      assertThat(server.directory.resolve("moves")).isEmptyDirectory();
    }
  }

  private void assertMoved(String now) throws Exception {
    assertThat(diskOfVm()).isEqualTo(now);
    assertThat(calls.text("VDI.get_SR", now)).isEqualTo(to);
    assertThat(images("from")).isEmpty();
    assertThat(images("to")).hasSize(1);
    assertCode("UUID_INVALID", () -> calls.text("VDI.get_by_uuid", uuid));
    assertThat(((Value.Struct) calls.call("VDI.get_sm_config", now)).members())
        .doesNotContainKey(VdiInfo.SM_CONFIG_MIGRATION);
    assertThat(((Value.Struct) calls.call("VDI.get_other_config", now)).members())
        .doesNotContainKey("xenferry:succeeds");
    assertThat(server.directory.resolve("moves")).isEmptyDirectory();
  }

  @Test
  void aDiskOfAHaltedVmMovesToAnotherSr() throws Exception {
    calls.call("VDI.set_name_description", vdi, "what it is for");
    calls.call("VDI.add_to_other_config", vdi, "key", "value");
    calls.call("VDI.add_tags", vdi, "tag");
    Path kept = server.directory.resolve("kept");
    Files.copy(image("from", uuid), kept);
    String now = calls.text("VDI.pool_migrate", vdi, to, Map.of());
    assertMoved(now);
    String newUuid = calls.text("VDI.get_uuid", now);
    assertThat(newUuid).isNotEqualTo(uuid);
    assertThat(Files.mismatch(kept, image("to", newUuid))).isEqualTo(-1);
    assertThat(calls.text("VDI.get_name_label", now)).isEqualTo("disk");
    assertThat(calls.text("VDI.get_name_description", now)).isEqualTo("what it is for");
    assertThat(((Value.Struct) calls.call("VDI.get_other_config", now)).members())
        .containsEntry("key", Value.of("value"));
    assertThat(TestServer.texts(calls.call("VDI.get_tags", now))).containsExactly("tag");
    assertThat(calls.call("VM.get_current_operations", vm)).isEqualTo(Value.EMPTY_STRUCT);
    calls.call("VM.start", vm, false, false);
    calls.call("VM.hard_shutdown", vm);
    // Where it is already it stays.
    assertThat(calls.text("VDI.pool_migrate", now, to, Map.of())).isEqualTo(now);
    assertThat(calls.text("VDI.pool_migrate", now, to, Map.of("dest-img-format", "raw")))
        .isEqualTo(now);
    assertThat(
            assertCode(
                    "INVALID_VALUE",
                    () ->
                        calls.call("VDI.pool_migrate", now, to, Map.of("dest-img-format", "qcow2")))
                .params())
        .startsWith("image-format");
  }

  @Test
  void obstaclesAreNamed() throws Exception {
    String message = "VDI.pool_migrate";
    String lonely = calls.vdi(from, "lonely", SIZE);
    assertThat(
            assertCode("VDI_NEEDS_VM_FOR_MIGRATE", () -> calls.call(message, lonely, to, Map.of()))
                .params())
        .containsExactly(lonely);
    calls.call("VDI.destroy", lonely);
    assertCode(
        "HANDLE_INVALID",
        () -> calls.call(message, vdi, "OpaqueRef:00000000-0000-4000-8000-000000000000", Map.of()));
    assertCode("INVALID_VALUE", () -> calls.call(message, vdi, to, Map.of("speed", "1")));
    assertCode("INVALID_VALUE", () -> calls.call(message, vdi, to, Map.of("bandwidth", "0")));
    calls.call("VM.start", vm, true, false);
    assertThat(
            assertCode("VM_BAD_POWER_STATE", () -> calls.call(message, vdi, to, Map.of())).params())
        .containsExactly(vm, "halted, running, suspended", "paused");
    calls.call("VM.hard_shutdown", vm);
    var db = server.server.context().db();
    db.change(tx -> tx.set(new Ref<VDI>(vdi), VDI.CBT_ENABLED, true));
    assertCode("VDI_CBT_ENABLED", () -> calls.call(message, vdi, to, Map.of()));
    db.change(tx -> tx.set(new Ref<VDI>(vdi), VDI.CBT_ENABLED, false));
    String pbd = TestServer.texts(calls.call("SR.get_PBDs", to)).getFirst();
    calls.call("PBD.unplug", pbd);
    assertCode("SR_NOT_ATTACHED", () -> calls.call(message, vdi, to, Map.of()));
    calls.call("PBD.plug", pbd);
    String tight = calls.memorySr(1 << 20);
    assertCode("SR_FULL", () -> calls.call(message, vdi, tight, Map.of()));
    assertNothingMoved();
  }

  /** With what a server leaves that is killed in a disk's move: a note and a tag. */
  private void restart(String move, Map<String, String> note) throws Exception {
    server =
        server.again(() -> {
          Path record = server.directory.resolve("to").resolve(move + ".vdi");
          if (Files.exists(record)) {
            Map<String, String> driver = new LinkedHashMap<>(AtomicFile.read(record));
            driver.put("sm_config:" + VdiInfo.SM_CONFIG_MIGRATION, "move-" + move);
            AtomicFile.write(record, driver);
          }
          Path notes = Files.createDirectories(server.directory.resolve("moves"));
          AtomicFile.write(notes.resolve(move + ".move"), note);
          return SqliteDatabase.open(server.directory.resolve("pool.db"));
        });
    calls = server.calls();
  }

  private Map<String, String> note(String made) throws Exception {
    return Map.of("from", uuid, "to", made, "sr", calls.text("SR.get_uuid", to));
  }

  /** A disk that is to take the other's place. */
  private String halfMoved() throws Exception {
    String made =
        calls.text(
            "VDI.create",
            RecordsTest.required(
                "VDI",
                Map.of(
                    "name_label",
                    "disk",
                    "SR",
                    to,
                    "virtual_size",
                    SIZE,
                    "type",
                    "user",
                    "sharable",
                    false,
                    "read_only",
                    false)));
    return made;
  }

  @Test
  void aMoveThatWasKilledBeforeItsCommitLeavesTheOldDisk() throws Exception {
    String made = calls.text("VDI.get_uuid", halfMoved());
    restart(made, note(made));
    await().atMost(Duration.ofSeconds(20)).untilAsserted(this::assertNothingMoved);
  }

  @Test
  void aMoveThatWasKilledBeforeTheDiskWasMadeLeavesTheOldDisk() throws Exception {
    String never = java.util.UUID.randomUUID().toString();
    restart(never, note(never));
    assertNothingMoved();
  }

  @Test
  void aMoveThatWasKilledAfterItsCommitLeavesTheNewDisk() throws Exception {
    String made = halfMoved();
    String there = calls.text("VDI.get_uuid", made);
    server
        .server
        .context()
        .db()
        .change(tx -> {
          for (Ref<io.xenferry.model.VBD> vbd : tx.get(new Ref<VDI>(vdi), VDI.VBDS)) {
            tx.set(vbd, io.xenferry.model.VBD.VDI, new Ref<>(made));
          }
          tx.set(new Ref<VDI>(made), VDI.OTHER_CONFIG, Map.of("xenferry:succeeds", uuid));
        });
    restart(there, note(there));
    assertMoved(made);
  }

  @Test
  void aNoteThatMakesNoSenseHarmsNothing() throws Exception {
    restart("junk", Map.of("from", "x", "to", "y"));
    assertThat(diskOfVm()).isEqualTo(vdi);
    assertThat(images("from")).hasSize(1);
  }
}
