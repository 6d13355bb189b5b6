package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What becomes of a VM's UEFI variables, with guests whose flash memory the test changes. */
class FirmwareTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static Flash flash;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    Flash.require();
    server = TestServer.start();
    root = server.calls();
    flash = new Flash(server, root);
    sr = root.sr(server.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static String vm(String name, Map<String, String> platform) throws XenApiException {
    String vm = root.vm(name, platform);
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    flash.uefi(vm);
    return vm;
  }

  private static String started(String name) throws XenApiException {
    String vm = vm(name, Map.of());
    root.call("VM.start", vm, false, false);
    return vm;
  }

  private static void awaitHalted(String vm) {
    await().atMost(TwoHosts.LONG).until(() -> root.text("VM.get_power_state", vm).equals("Halted"));
  }

  @Test
  void theRecordTakesOverWhatTheGuestHasChanged() throws Exception {
    String vm = started("changes");
    assertThat(Files.readAllBytes(flash.file(vm))).isEqualTo(Files.readAllBytes(Flash.TEMPLATE));
    assertThat(Files.getPosixFilePermissions(flash.file(vm))).hasSize(2);
    flash.write(vm, "first");

    root.call("VM.hard_shutdown", vm);

    assertThat(flash.inRecord(vm, 5)).isEqualTo("first");
    assertThat(flash.file(vm)).doesNotExist();
    String value = TestServer.text(TestServer.member(root.call("VM.get_NVRAM", vm), Flash.KEY));
    assertThat(value.length()).as("characters, of 540,672 bytes").isLessThan(16_000);

    root.call("VM.start", vm, false, false);
    assertThat(flash.inFile(vm, 5)).isEqualTo("first");
    flash.write(vm, "other");
    root.call("VM.clean_shutdown", vm);
    assertThat(flash.inRecord(vm, 5)).isEqualTo("other");

    String clone = root.text("VM.clone", vm, "a clone");
    root.call("VM.start", clone, false, false);
    assertThat(flash.inFile(clone, 5)).isEqualTo("other");
    flash.write(clone, "third");
    root.call("VM.hard_shutdown", clone);
    assertThat(flash.inRecord(clone, 5)).isEqualTo("third");
    assertThat(flash.inRecord(vm, 5)).isEqualTo("other");
  }

  @Test
  void theRecordTakesOverWhatAGuestThatEndedByItselfHasChanged() throws Exception {
    String killed = started("killed");
    flash.write(killed, "killed");
    root.call("VM.set_actions_after_crash", killed, "destroy");
    Path pid =
        server.directory.resolve("guests").resolve(root.text("VM.get_uuid", killed)).resolve("pid");
    ProcessHandle.of(Long.parseLong(Files.readString(pid).strip())).orElseThrow().destroyForcibly();
    awaitHalted(killed);
    assertThat(flash.inRecord(killed, 6)).isEqualTo("killed");

    String ends = vm("ends", Map.of("xenferry:fault", "halt"));
    root.call("VM.start", ends, false, false);
    awaitHalted(ends);
    assertThat(flash.recorded(ends)).isEqualTo(Files.readAllBytes(Flash.TEMPLATE));
    assertThat(flash.file(ends)).doesNotExist();
  }

  @Test
  void aSuspendedVmHasThemInItsRecord() throws Exception {
    String vm = started("sleeps");
    root.call("VM.set_suspend_SR", vm, sr);
    flash.write(vm, "asleep");
    root.call("VM.suspend", vm);
    assertThat(flash.inRecord(vm, 6)).isEqualTo("asleep");
    assertThat(flash.file(vm)).doesNotExist();
    root.call("VM.resume", vm, false, false);
    assertThat(flash.inFile(vm, 6)).isEqualTo("asleep");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aSnapshotHasThemAndTheVmGoesBackToThem() throws Exception {
    String vm = vm("goes back", Map.of());
    root.call("VM.start", vm, false, false);
    flash.write(vm, "before");
    root.call("VM.hard_shutdown", vm);
    String snapshot = root.text("VM.snapshot", vm, "then", List.of());
    root.call("VM.start", vm, false, false);
    flash.write(vm, "after.");
    assertThat(flash.inRecord(snapshot, 6)).isEqualTo("before");
    root.call("VM.hard_shutdown", vm);
    root.call("VM.revert", snapshot);
    assertThat(flash.inRecord(vm, 6)).isEqualTo("before");
    root.call("VM.start", vm, false, false);
    assertThat(flash.inFile(vm, 6)).isEqualTo("before");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void variablesAreSetOfHaltedVmsOnly() throws Exception {
    String vm = started("set");
    flash.write(vm, "guest");
    Map<String, String> fresh = Map.of();
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.set_NVRAM", vm, fresh));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.remove_from_NVRAM", vm, Flash.KEY));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.set_NVRAM_EFI_variables", vm, ""));
    root.call("VM.hard_shutdown", vm);
    root.call("VM.add_to_NVRAM", vm, "note", "of a client");
    assertThat(flash.inRecord(vm, 5)).as("the guest's stay").isEqualTo("guest");
    Value values = root.call("VM.get_NVRAM", vm);
    root.call("VM.remove_from_NVRAM", vm, Flash.KEY);
    root.call("VM.start", vm, false, false);
    assertThat(Files.readAllBytes(flash.file(vm)))
        .as("fresh ones")
        .isEqualTo(Files.readAllBytes(Flash.TEMPLATE));
    root.call("VM.hard_shutdown", vm);
    root.call("VM.set_NVRAM", vm, values);
    root.call("VM.start", vm, false, false);
    assertThat(flash.inFile(vm, 5)).isEqualTo("guest");
    root.call("VM.hard_shutdown", vm);
    String uuid = root.text("VM.get_uuid", vm);
    root.call("VM.destroy", vm);
    assertThat(flash.fileOf(uuid)).doesNotExist();
  }

  @Test
  void valuesThatAreNoneDoNotStartAVmAndAreKept() throws Exception {
    String vm = vm("nonsense", Map.of());
    ByteArrayOutputStream endless = new ByteArrayOutputStream();
    try (GZIPOutputStream packed = new GZIPOutputStream(endless)) {
      for (int i = 0; i < 64; i++) {
        packed.write(new byte[1 << 20]);
      }
    }
    for (byte[] value :
        List.of(
            "VARS of another hypervisor".getBytes(java.nio.charset.StandardCharsets.US_ASCII),
            new byte[] {0x1f, (byte) 0x8b, 8, 0, 0},
            endless.toByteArray())) {
      String text = Base64.getEncoder().encodeToString(value);
      root.call("VM.set_NVRAM_EFI_variables", vm, text);
      assertCode("BOOTLOADER_FAILED", () -> root.call("VM.start", vm, false, false));
      assertThat(root.call("VM.get_NVRAM", vm))
          .isEqualTo(TestServer.value(Map.of(Flash.KEY, text)));
    }
    assertThat(flash.file(vm)).doesNotExist();
    root.call("VM.set_NVRAM_EFI_variables", vm, "../../no base64");
    assertCode("BOOTLOADER_FAILED", () -> root.call("VM.start", vm, false, false));
  }

  private static ObjectDatabase database(Path directory) throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  @Test
  void whatAKilledServerLeftIsTakenOverByTheNext() throws Exception {
    Path directory = Files.createTempDirectory("xenferry");
    TestServer first = TestServer.startAt("127.0.0.1", directory, database(directory));
    TestServer.Calls calls = first.calls();
    Flash flashes = new Flash(first, calls);
    String vm = calls.vm("left", Map.of());
    flashes.uefi(vm);
    Path file = flashes.file(vm);
    Files.createDirectories(file.getParent());
    Files.copy(Flash.TEMPLATE, file);
    flashes.write(vm, "newer");
    Path nobodys = flashes.fileOf("11111111-2222-4333-8444-555555555555");
    Files.copy(Flash.TEMPLATE, nobodys);
    Path other = Files.createFile(file.resolveSibling("notes.fd"));
    first.stop();

    try (TestServer next = TestServer.startAt("127.0.0.1", directory, database(directory))) {
      Flash after = new Flash(next, next.calls());
      assertThat(after.inRecord(vm, 5)).isEqualTo("newer");
      assertThat(file).doesNotExist();
      assertThat(nobodys).doesNotExist();
      assertThat(other).exists();
    }
  }
}
