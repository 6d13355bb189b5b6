package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What a VM is told of its machine; that QEMU tells it is {@code QemuLauncherTest}'s part. */
class BiosStringsTest {
  private static TestServer server;
  private static TestServer.Calls root;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static Value strings(String vm) throws XenApiException {
    return root.call("VM.get_bios_strings", vm);
  }

  @Test
  void theyAreSetOnce() throws Exception {
    String vm = root.vm("told", Map.of());
    for (Map<String, String> none :
        List.of(
            Map.of("bios-date", "today"),
            Map.of("bios-vendor", ""),
            Map.of("bios-vendor", " x"),
            Map.of("bios-vendor", "x\ny"),
            Map.of("bios-vendor", "x".repeat(513)))) {
      assertCode("INVALID_VALUE", () -> root.call("VM.set_bios_strings", vm, none));
    }
    assertThat(strings(vm)).isEqualTo(Value.EMPTY_STRUCT);
    Map<String, String> told =
        Map.of("system-manufacturer", "Ship, Yard & Co", "enclosure-asset-tag", "7");
    root.call("VM.set_bios_strings", vm, told);
    assertCode("VM_BIOS_STRINGS_ALREADY_SET", () -> root.call("VM.set_bios_strings", vm, Map.of()));
    root.call("VM.start", vm, true, false);
    Path spec =
        server
            .directory
            .resolve("guests")
            .resolve(root.text("VM.get_uuid", vm))
            .resolve("spec.json");
    assertThat(Files.readString(spec)).contains("Ship, Yard & Co");
    root.call("VM.hard_shutdown", vm);
    String snapshot = root.text("VM.snapshot", vm, "snapshot", List.of());
    for (String made : List.of(root.text("VM.clone", vm, "clone"), snapshot)) {
      assertThat(strings(made)).isEqualTo(strings(vm));
    }
    root.call("VM.revert", snapshot);
    assertThat(strings(vm)).isEqualTo(strings(snapshot));
  }

  @Test
  void theyAreTheHosts() throws Exception {
    String vm = root.vm("like its host", Map.of());
    String host = root.only("host");
    hostSays(host, Map.of("hp-rombios", "x"));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.copy_bios_strings", vm, host));
    hostSays(host, Map.of("hp-rombios", "x", "bios-vendor", "Yard"));
    root.call("VM.copy_bios_strings", vm, host);
    assertThat(strings(vm)).isEqualTo(TestServer.value(Map.of("bios-vendor", "Yard")));
    assertCode("VM_BIOS_STRINGS_ALREADY_SET", () -> root.call("VM.copy_bios_strings", vm, host));
    assertCode("HANDLE_INVALID", () -> root.call("VM.copy_bios_strings", vm, "OpaqueRef:no"));
  }

  private static void hostSays(String host, Map<String, String> strings) throws XenApiException {
    server
        .server
        .context()
        .db()
        .change(tx -> tx.set(Ref.<Host>of(host), Host.BIOS_STRINGS, strings));
  }
}
