package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.XenApiException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A VM's TPM, on QEMU. */
class VtpmTest {
  private static TestServer here;
  private static TestServer there;
  private static TestServer.Calls root;
  private static TestServer.Calls other;
  private static String sr;
  private static String otherSr;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("swtpm", "qemu-system-x86_64");
    here =
        TestServer.startAt(
            "127.0.0.1", config -> config.with(config.toolstack().withHypervisor("qemu")));
    there =
        TestServer.startAt(
            "127.0.0.2", config -> config.with(config.toolstack().withHypervisor("qemu")));
    root = here.calls();
    other = there.calls();
    sr = root.sr(here.directory.resolve("sr"));
    otherSr = other.sr(there.directory.resolve("sr"));
  }

  @AfterAll
  static void stop() throws Exception {
    if (there != null) {
      there.close();
    }
    if (here != null) {
      here.close();
    }
  }

  private static String vm(String name) throws XenApiException {
    String vm = root.vm(name, Map.of("xenferry:accel", "tcg"));
    root.vbd(vm, root.vdi(sr, name, 4 << 20), 0);
    return vm;
  }

  private static Path state(TestServer server, String uuid) {
    return server.directory.resolve("tpm").resolve(uuid).resolve("tpm2-00.permall");
  }

  @Test
  void aHaltedVmIsGivenATpm() throws Exception {
    String vm = vm("given");
    String vtpm = root.text("VTPM.create", vm, false);
    assertThat(TestServer.texts(root.call("VM.get_VTPMs", vm))).containsExactly(vtpm);
    assertCode("VTPM_MAX_AMOUNT_REACHED", () -> root.call("VTPM.create", vm, false));
    assertCode("INVALID_VALUE", () -> root.call("VTPM.set_contents", vtpm, "../../etc"));
    assertThat(root.record("VTPM", vtpm)).doesNotContainKey("contents");

    // Paused: its firmware would write to the TPM, sooner or later.
    root.call("VM.start", vm, true, false);
    String uuid = root.text("VM.get_uuid", vm);
    assertThat(state(here, uuid)).exists();
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VTPM.destroy", vtpm));
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VTPM.set_contents", vtpm, ""));
    byte[] made = Files.readAllBytes(state(here, uuid));
    root.call("VM.hard_shutdown", vm);
    assertThat(state(here, uuid).getParent()).doesNotExist();
    assertThat(Base64.getDecoder().decode(root.text("VTPM.get_contents", vtpm))).isEqualTo(made);

    root.call("VM.set_suspend_SR", vm, sr);
    root.call("VM.start", vm, false, false);
    root.call("VM.suspend", vm);
    assertThat(state(here, uuid).getParent()).doesNotExist();
    root.call("VM.resume", vm, false, false);
    assertThat(state(here, uuid)).exists();
    root.call("VM.hard_shutdown", vm);

    String clone = root.text("VM.clone", vm, "a clone");
    String cloned = TestServer.texts(root.call("VM.get_VTPMs", clone)).getFirst();
    assertThat(cloned).isNotEqualTo(vtpm);
    assertThat(root.text("VTPM.get_contents", cloned))
        .isEqualTo(root.text("VTPM.get_contents", vtpm));
    String snapshot = root.text("VM.snapshot", vm, "then", List.of());
    String then = root.text("VTPM.get_contents", vtpm);
    String later = Base64.getEncoder().encodeToString("later".getBytes(StandardCharsets.US_ASCII));
    root.call("VTPM.set_contents", vtpm, later);
    root.call("VM.revert", snapshot);
    String back = TestServer.texts(root.call("VM.get_VTPMs", vm)).getFirst();
    assertThat(root.text("VTPM.get_contents", back)).isEqualTo(then);
    root.call("VTPM.destroy", back);
    assertThat(TestServer.texts(root.call("VM.get_VTPMs", vm))).isEmpty();
    root.call("VM.destroy", vm);
    root.call("VM.destroy", clone);
    root.call("VM.destroy", snapshot);
    assertThat(root.all("VTPM")).isEmpty();
    assertThat(root.all("secret")).as("nothing of them is left").isEmpty();
  }

  @Test
  @Tag("slow")
  void itGoesAlongWithARunningVm() throws Exception {
    String vm = vm("goes");
    root.text("VTPM.create", vm, true);
    root.call("VM.start", vm, false, false);
    String uuid = root.text("VM.get_uuid", vm);
    byte[] made = Files.readAllBytes(state(here, uuid));
    String vdi =
        root.text("VBD.get_VDI", TestServer.texts(root.call("VM.get_VBDs", vm)).getFirst());
    String moved =
        root.text(
            "VM.migrate_send", vm, other.token(), true, Map.of(vdi, otherSr), Map.of(), Map.of());
    assertThat(other.text("VM.get_power_state", moved)).isEqualTo("Running");
    assertThat(Files.readAllBytes(state(there, uuid))).isEqualTo(made);
    await().atMost(TwoHosts.LONG).until(() -> Files.notExists(state(here, uuid)));
    other.call("VM.hard_shutdown", moved);
    String vtpm = TestServer.texts(other.call("VM.get_VTPMs", moved)).getFirst();
    assertThat(Base64.getDecoder().decode(other.text("VTPM.get_contents", vtpm))).isEqualTo(made);
    assertThat(other.call("VTPM.get_is_unique", vtpm)).isEqualTo(TestServer.value(true));
    assertThat(root.all("VTPM")).isEmpty();
  }
}
