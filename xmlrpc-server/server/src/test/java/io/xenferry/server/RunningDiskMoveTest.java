package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.SimulatedLauncher;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.sr.AtomicFile;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.slf4j.LoggerFactory;

/** VDI.pool_migrate of a disk that a simulated guest writes all the time. */
class RunningDiskMoveTest {
  private static final long SIZE = 8 << 20;
  private static final Duration LONG = Duration.ofSeconds(60);

  /** So that much can happen before the copy is done. */
  private static final Map<String, String> SLOWLY = Map.of("bandwidth", "262144");

  private static final String MOVE = "VDI.pool_migrate";

  private TestServer server;
  private TestServer.Calls calls;
  private String from;
  private String to;
  private String vm;
  private String vdi;
  private String uuid;
  private Path ledger;

  @BeforeEach
  void start() throws Exception {
    Path directory = Files.createTempDirectory("xenferry");
    server =
        TestServer.startAt(
            "127.0.0.1", directory, SqliteDatabase.open(directory.resolve("pool.db")));
    calls = server.calls();
    from = calls.sr(directory.resolve("from"));
    to = calls.sr(directory.resolve("to"));
    ledger = directory.resolve("ledger");
  }

  @AfterEach
  void stop() throws Exception {
    server.close();
  }

  /** A VM that runs and writes. */
  private void runner(Map<String, String> more) throws Exception {
    Map<String, String> platform = new LinkedHashMap<>(more);
    platform.put("xenferry:ledger", ledger.toString());
    platform.put("xenferry:workload-rate", Integer.toString(512 << 10));
    vm = calls.vm("runner", platform);
    vdi = calls.vdi(from, "disk", SIZE);
    uuid = calls.text("VDI.get_uuid", vdi);
    calls.vbd(vm, vdi, 0);
    DiskFiller.fill(image("from", uuid), 0, new FillPattern(SIZE, 60, 7), ledger);
    calls.call("VM.set_actions_after_crash", vm, "destroy");
    calls.call("VM.start", vm, false, false);
    awaitWrites();
  }

  private void awaitWrites() throws IOException {
    long written = Files.size(ledger);
    await().atMost(LONG).until(() -> Files.size(ledger) > written + 64 * 50);
  }

  private Path image(String sr, String disk) throws Exception {
    return StorageTest.image(server.directory.resolve(sr), disk);
  }

  private List<Path> images(String sr) throws IOException {
    try (Stream<Path> files = Files.list(server.directory.resolve(sr))) {
      return files.filter(f -> f.toString().endsWith(".raw")).toList();
    }
  }

  private String state() throws XenApiException {
    return calls.text("VM.get_power_state", vm);
  }

  /** The first disk. */
  private String diskOfVm() throws XenApiException {
    for (String vbd : TestServer.texts(calls.call("VM.get_VBDs", vm))) {
      if (calls.text("VBD.get_userdevice", vbd).equals("0")) {
        return calls.text("VBD.get_VDI", vbd);
      }
    }
    throw new AssertionError("the VM has no first disk");
  }

  private void assertSettled() throws Exception {
    assertThat(calls.call("VM.get_current_operations", vm)).isEqualTo(Value.EMPTY_STRUCT);
    assertThat(calls.call("VDI.get_current_operations", diskOfVm())).isEqualTo(Value.EMPTY_STRUCT);
    assertThat(TestServer.texts(calls.call("VDI.get_allowed_operations", diskOfVm())))
        .contains("mirror");
    assertThat(server.directory.resolve("moves")).isEmptyDirectory();
  }

  private void assertMoved(String now) throws Exception {
    assertThat(diskOfVm()).isEqualTo(now);
    assertThat(calls.text("VDI.get_SR", now)).isEqualTo(to);
    assertThat(images("from")).isEmpty();
    assertThat(images("to")).hasSize(1);
    assertCode("UUID_INVALID", () -> calls.text("VDI.get_by_uuid", uuid));
    assertSettled();
  }

  private void assertStayed() throws Exception {
    assertThat(diskOfVm()).isEqualTo(vdi);
    assertThat(images("from")).hasSize(1);
    assertThat(images("to")).isEmpty();
    assertThat(TestServer.texts(calls.call("SR.get_VDIs", to))).isEmpty();
    assertSettled();
  }

  /** The guest goes on, and has lost nothing when it ends. */
  private void assertWell(String sr) throws Exception {
    assertThat(state()).isEqualTo("Running");
    awaitWrites();
    calls.call("VM.hard_shutdown", vm);
    assertVerified(sr);
  }

  private void assertVerified(String sr) throws Exception {
    Verdict verdict =
        Verifier.verify(ledger, List.of(image(sr, calls.text("VDI.get_uuid", diskOfVm()))));
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
  }

  private String begin(Map<String, String> options) throws Exception {
    String task = calls.text("Async.VDI.pool_migrate", vdi, to, options);
    await().atMost(LONG).until(() -> !TestServer.texts(calls.call("SR.get_VDIs", to)).isEmpty());
    return task;
  }

  private List<String> outcome(String task) throws Exception {
    await()
        .atMost(LONG)
        .until(
            () -> !List.of("pending", "cancelling").contains(calls.text("task.get_status", task)));
    return TestServer.texts(calls.call("task.get_error_info", task));
  }

  @Test
  void theGuestGoesOnWithTheNewDisk() throws Exception {
    runner(Map.of());
    String of = calls.text("VM.get_uuid", vm);
    List<String> serials = server.serials(of);
    assertThat(serials).containsExactly(uuid.replace("-", "").substring(0, 20));
    String now = calls.text(MOVE, vdi, to, Map.of());
    assertMoved(now);
    assertThat(server.serials(of)).isEqualTo(serials);
    assertWell("to");
    calls.call("VM.start", vm, false, false);
    assertThat(server.serials(of)).isEqualTo(serials);
    calls.call("VM.hard_shutdown", vm);
  }

  @Test
  void aMoveIsShownAndCancelledAndKeepsOthersOff() throws Exception {
    runner(Map.of());
    String task = begin(SLOWLY);
    assertThat(((Value.Struct) calls.call("VM.get_current_operations", vm)).members())
        .containsEntry(task, Value.of("migrate_send"));
    assertThat(((Value.Struct) calls.call("VDI.get_current_operations", vdi)).members())
        .containsEntry(task, Value.of("mirror"));
    String busy = "OTHER_OPERATION_IN_PROGRESS";
    String made = TestServer.texts(calls.call("SR.get_VDIs", to)).getFirst();
    assertCode(busy, () -> calls.call(MOVE, vdi, to, Map.of()));
    assertCode(busy, () -> calls.call("VDI.snapshot", vdi, Map.of()));
    assertCode(busy, () -> calls.call("VDI.resize_online", vdi, SIZE * 2));
    assertCode(busy, () -> calls.call("VDI.destroy", made));
    assertCode(busy, () -> calls.call("VM.suspend", vm));
    assertCode(
        busy,
        () -> calls.call("VBD.unplug", TestServer.texts(calls.call("VM.get_VBDs", vm)).getFirst()));
    String pbd = TestServer.texts(calls.call("SR.get_PBDs", to)).getFirst();
    assertCode("SR_DEVICE_IN_USE", () -> calls.call("PBD.unplug", pbd));
    calls.call("task.cancel", task);
    assertThat(outcome(task)).contains("TASK_CANCELLED");
    assertStayed();
    assertWell("from");
  }

  @Test
  void aGuestThatEndsMeanwhileKeepsTheOldDisk() throws Exception {
    runner(Map.of());
    String task = begin(SLOWLY);
    calls.call("VM.hard_shutdown", vm);
    assertThat(outcome(task)).startsWith("VM_BAD_POWER_STATE");
    assertThat(state()).isEqualTo("Halted");
    assertStayed();
    assertVerified("from");
  }

  @Test
  void aGuestThatRefusesTheNewDiskKeepsTheOldOne() throws Exception {
    runner(Map.of("xenferry:fault", "refuse-reopen"));
    assertCode("VDI_COPY_FAILED", () -> calls.call(MOVE, vdi, to, Map.of()));
    assertStayed();
    assertWell("from");
  }

  @Test
  void aGuestThatDiesAtTheSwitchHasTheOldDisk() throws Exception {
    runner(Map.of("xenferry:fault", "die=reopen"));
    assertCode("VM_BAD_POWER_STATE", () -> calls.call(MOVE, vdi, to, Map.of()));
    await().atMost(LONG).until(() -> state().equals("Halted"));
    assertStayed();
    assertVerified("from");
  }

  @Test
  @Tag("slow")
  void aGuestThatDoesNotSayWhichDiskItHasIsAskedUntilItEnds() throws Exception {
    runner(Map.of("xenferry:fault", "hang-qmp=blockdev-reopen"));
    String task = begin(Map.of());
    Path pid =
        server.directory.resolve("guests").resolve(calls.text("VM.get_uuid", vm)).resolve("pid");
    Path note = server.directory.resolve("moves").resolve(made() + ".move");
    await().atMost(LONG).until(() -> Files.readString(note).contains("paused=true"));
    ListAppender<ILoggingEvent> said = new ListAppender<>();
    said.start();
    Logger log = (Logger) LoggerFactory.getLogger("io.xenferry.server.storage.RunningMoves");
    log.addAppender(said);
    try {
      // Three deadlines of the monitor.
      await()
          .atMost(LONG.multipliedBy(2))
          .ignoreExceptions()
          .until(() ->
              List.copyOf(said.list).stream()
                  .anyMatch(e -> e.getMessage().contains("still not known")));
    } finally {
      log.detachAppender(said);
    }
    assertThat(calls.text("task.get_status", task)).isEqualTo("pending");
    assertThat(images("from")).hasSize(1);
    assertThat(images("to")).hasSize(1);
    assertCode("OTHER_OPERATION_IN_PROGRESS", () -> calls.call("VM.hard_reboot", vm));
    ProcessHandle.of(Long.parseLong(Files.readString(pid).strip())).orElseThrow().destroyForcibly();
    assertThat(outcome(task)).startsWith("VM_BAD_POWER_STATE");
    await().atMost(LONG).until(() -> state().equals("Halted"));
    assertStayed();
    assertVerified("from");
  }

  /** The uuid of the disk that is being made. */
  private String made() throws XenApiException {
    return calls.text("VDI.get_uuid", TestServer.texts(calls.call("SR.get_VDIs", to)).getFirst());
  }

  @Test
  @Tag("slow")
  void aGuestThatRebootsMeanwhileMovesAllTheSame() throws Exception {
    runner(Map.of());
    String task = begin(Map.of("bandwidth", "2097152"));
    calls.call("VM.hard_reboot", vm);
    assertThat(outcome(task)).isEmpty();
    assertMoved(diskOfVm());
    assertWell("to");
  }

  @Test
  void aDiskThatTheGuestOnlyReadsMovesToo() throws Exception {
    runner(Map.of());
    String read = calls.vdi(from, "read", SIZE);
    String readUuid = calls.text("VDI.get_uuid", read);
    Files.write(image("from", readUuid), new byte[] {7, 7}, StandardOpenOption.WRITE);
    calls.call("VM.hard_shutdown", vm);
    calls.call(
        "VBD.create",
        RecordsTest.required(
            "VBD",
            Map.of(
                "VM",
                vm,
                "VDI",
                read,
                "userdevice",
                "1",
                "mode",
                "RO",
                "type",
                "Disk",
                "bootable",
                false,
                "empty",
                false)));
    calls.call("VM.start", vm, false, false);
    String now = calls.text(MOVE, read, to, Map.of());
    assertThat(Files.readAllBytes(image("to", calls.text("VDI.get_uuid", now)))).startsWith(7, 7);
    assertThat(images("from")).containsExactly(image("from", uuid));
    assertThat(TestServer.texts(calls.call("VDI.get_VBDs", now))).hasSize(1);
    assertThat(state()).isEqualTo("Running");
    assertThat(server.directory.resolve("moves")).isEmptyDirectory();
    awaitWrites();
    calls.call("VM.hard_shutdown", vm);
    assertVerified("from");
  }

  // ---- servers that die

  /** What is done with the guest and the disks while no server is there. */
  private interface Meanwhile {
    void act(Guest guest, Path made) throws Exception;
  }

  /** As if the server had been killed in the midst of a move: a note, a tag, and a guest. */
  private void killed(String made, Meanwhile meanwhile) throws Exception {
    String guest = calls.text("VM.get_uuid", vm);
    String sr = calls.text("SR.get_uuid", to);
    server =
        server.again(() -> {
          try (QemuHypervisor none =
              new QemuHypervisor(
                  SimulatedLauncher.ofThisJvm(), server.directory.resolve("guests"))) {
            meanwhile.act(none.find(UUID.fromString(guest)).orElseThrow(), image("to", made));
          }
          Path record = server.directory.resolve("to").resolve(made + ".vdi");
          Map<String, String> driver = new LinkedHashMap<>(AtomicFile.read(record));
          driver.put("sm_config:" + VdiInfo.SM_CONFIG_MIGRATION, "move-" + made);
          AtomicFile.write(record, driver);
          note(made, guest, sr);
          return SqliteDatabase.open(server.directory.resolve("pool.db"));
        });
    calls = server.calls();
  }

  @Test
  void aNoteThatOutlivesItsMoveIsForgotten() throws Exception {
    runner(Map.of());
    String now = calls.text(MOVE, vdi, to, Map.of());
    String made = calls.text("VDI.get_uuid", now);
    String guest = calls.text("VM.get_uuid", vm);
    String sr = calls.text("SR.get_uuid", to);
    server =
        server.again(() -> {
          note(made, guest, sr);
          return SqliteDatabase.open(server.directory.resolve("pool.db"));
        });
    calls = server.calls();
    assertMoved(now);
    assertWell("to");
  }

  private void note(String made, String guest, String sr) throws IOException {
    Path notes = Files.createDirectories(server.directory.resolve("moves"));
    AtomicFile.write(
        notes.resolve(made + ".move"),
        Map.of(
            "from", uuid, "to", made, "sr", sr, "vm", guest, "device", "xvda", "paused", "true"));
  }

  @Test
  void aServerThatIsKilledWhileTheGuestStandsStillLetsItGoOnWithTheOldDisk() throws Exception {
    runner(Map.of());
    String made = calls.text("VDI.get_uuid", calls.vdi(to, "disk", SIZE));
    killed(made, (guest, image) -> guest.pause());
    assertStayed();
    assertWell("from");
  }

  @Test
  void aServerThatIsKilledAfterTheSwitchLetsTheGuestGoOnWithTheNewDisk() throws Exception {
    runner(Map.of());
    String there = calls.vdi(to, "disk", SIZE);
    String made = calls.text("VDI.get_uuid", there);
    killed(
        made,
        (guest, image) -> {
          guest.pause();
          Files.copy(image("from", uuid), image, StandardCopyOption.REPLACE_EXISTING);
          guest.replaceImage(
              new GuestSpec.Disk("xvda", UUID.fromString(made), image, "raw", false));
        });
    assertMoved(there);
    assertWell("to");
  }

  @Test
  @Tag("slow")
  void aGuestThatDiesWithItsServerHasTheDiskThatIsRecorded() throws Exception {
    runner(Map.of());
    String made = calls.text("VDI.get_uuid", calls.vdi(to, "disk", SIZE));
    killed(made, (guest, image) -> guest.destroy());
    assertThat(state()).isEqualTo("Halted");
    assertStayed();
    assertVerified("from");
  }
}
