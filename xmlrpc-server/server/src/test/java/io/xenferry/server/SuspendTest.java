package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.XenApiException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Suspending and resuming, with simulated guests. */
class SuspendTest {
  private static final String NONE = "OpaqueRef:NULL";
  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    sr = root.sr(server.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static String vm(String name) throws XenApiException {
    String vm = root.vm(name, Map.of("xenferry:ledger", server.directory.resolve(name).toString()));
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    root.call("VM.start", vm, false, false);
    return vm;
  }

  private static String state(String vm) throws XenApiException {
    return root.text("VM.get_power_state", vm);
  }

  @Test
  void aVmGoesOnWhereItWas() throws Exception {
    String vm = vm("suspended");
    assertCode("VM_NO_SUSPEND_SR", () -> root.call("VM.suspend", vm));
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    assertThat(state(vm)).isEqualTo("Suspended");
    String image = root.text("VM.get_suspend_VDI", vm);
    // Nobody writes what is its memory.
    String other = root.vdi(sr, "other", 1 << 20);
    assertCode("VDI_INCOMPATIBLE_TYPE", () -> root.call("VDI.copy", other, NONE, NONE, image));
    assertThat(root.text("VDI.get_type", image)).isEqualTo("suspend");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .contains("resume", "hard_shutdown")
        .doesNotContain("start");
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.start", vm, false, false));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.destroy", vm));

    root.call("VM.resume", vm, true, false);
    assertThat(state(vm)).isEqualTo("Paused");
    root.call("VM.unpause", vm);
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo(NONE);
    assertCode("HANDLE_INVALID", () -> root.text("VDI.get_uuid", image));
    root.call("VM.suspend", vm);
    root.call("VM.resume_on", vm, root.only("host"), false, false);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aSuspendedVmCanBeGivenUp() throws Exception {
    String vm = vm("given up");
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    String image = root.text("VM.get_suspend_VDI", vm);
    root.call("VM.hard_shutdown", vm);
    assertThat(state(vm)).isEqualTo("Halted");
    assertCode("HANDLE_INVALID", () -> root.text("VDI.get_uuid", image));
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aDamagedImageIsNotGoneOnFrom() throws Exception {
    String vm = vm("damaged");
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    String image = root.text("VM.get_suspend_VDI", vm);
    Path file =
        server.directory.resolve("sr").resolve(root.text("VDI.get_location", image) + ".raw");
    try (RandomAccessFile raw = new RandomAccessFile(file.toFile(), "rw")) {
      raw.seek(1 << 20);
      int before = raw.read();
      raw.seek(1 << 20);
      raw.write(before ^ 1);
      assertCode("SUSPEND_IMAGE_NOT_ACCESSIBLE", () -> root.call("VM.resume", vm, false, false));
      assertThat(state(vm)).isEqualTo("Suspended");
      assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo(image);
      raw.seek(1 << 20);
      raw.write(before);
    }
    root.call("VM.resume", vm, false, false);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aVmWhoseDevicesHaveChangedDoesNotGoOn() throws Exception {
    String vm = vm("changed");
    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.suspend", vm);
    String vbd = TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst();
    String vdi = root.text("VBD.get_VDI", vbd);
    root.call("VBD.destroy", vbd);
    assertCode("SUSPEND_IMAGE_NOT_ACCESSIBLE", () -> root.call("VM.resume", vm, false, false));
    root.vbd(vm, vdi, 0);
    root.vbd(vm, root.vdi(sr, "more", 4 << 20), 1);
    root.call("VM.resume", vm, false, false);
    assertThat(state(vm)).isEqualTo("Running");
    root.call("VM.hard_shutdown", vm);
  }
}
