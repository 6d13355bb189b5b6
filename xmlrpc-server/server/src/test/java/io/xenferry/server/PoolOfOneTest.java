package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What a host that is alone in its pool answers. */
class PoolOfOneTest {
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

  @Test
  void thereIsNobodyElse() throws Exception {
    String host = root.only("host");
    assertThat(root.call("pool.recover_slaves")).isEqualTo(Value.EMPTY_ARRAY);
    root.call("pool.designate_new_master", host);
    assertCode("HANDLE_INVALID", () -> root.call("pool.designate_new_master", "OpaqueRef:no"));
    root.call("host.sync_data", host);
  }

  @Test
  void nothingIsShared() throws Exception {
    String sr = root.sr(server.directory.resolve("sr"));
    String vm = root.vm("agile", Map.of());
    root.call("VM.assert_agile", vm);
    String network =
        root.text("network.create", RecordsTest.required("network", Map.of("name_label", "own")));
    String vif =
        root.text(
            "VIF.create",
            RecordsTest.required("VIF", Map.of("VM", vm, "network", network, "device", "0")));
    assertThat(
            assertCode(
                    "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED",
                    () -> root.call("VM.assert_agile", vm))
                .params())
        .containsExactly(network);
    root.call("VIF.destroy", vif);
    root.vbd(vm, root.vdi(sr, "disk", 1 << 20), 0);
    assertThat(
            assertCode(
                    "HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", () -> root.call("VM.assert_agile", vm))
                .params())
        .containsExactly(sr);
  }

  @Test
  void whatIsOffIsTurnedOff() throws Exception {
    String host = root.only("host");
    String pool = root.only("pool");
    String sr = root.sr(server.directory.resolve("off"));
    root.call("pool.disable_redo_log");
    root.call("SR.disable_database_replication", sr);
    root.call("host.disable_local_storage_caching", host);
    root.call("pool.disable_local_storage_caching", pool);
    root.call("pool.disable_ssl_legacy", pool);
    root.call("host.set_ssl_legacy", host, false);
    assertCode("VALUE_NOT_SUPPORTED", () -> root.call("host.set_ssl_legacy", host, true));
    assertThat(root.call("host.get_ssl_legacy", host)).isEqualTo(Value.of(false));
    assertCode("HANDLE_INVALID", () -> root.call("SR.disable_database_replication", pool));
  }

  @Test
  void thereIsOneEdition() throws Exception {
    String host = root.only("host");
    String pool = root.only("pool");
    String edition = root.text("host.get_edition", host);
    root.call("host.apply_edition", host, edition);
    root.call("pool.apply_edition", pool, edition);
    root.call("host.license_remove", host);
    for (String none : List.of("", "platinum")) {
      assertCode("INVALID_EDITION", () -> root.call("host.apply_edition", host, none));
      assertCode("INVALID_EDITION", () -> root.call("pool.apply_edition", pool, none));
    }
  }

  @Test
  void zonesAreListed() throws Exception {
    assertThat(TestServer.texts(root.call("host.list_timezones", root.only("host"))))
        .contains("Europe/Berlin", "UTC")
        .isSorted();
  }

  @Test
  void secureBootIsNotThere() throws Exception {
    assertThat(root.text("pool.get_guest_secureboot_readiness", root.only("pool")))
        .isEqualTo("not_ready");
    String vm = root.vm("secure", Map.of());
    assertThat(root.text("VM.get_secureboot_readiness", vm)).isEqualTo("not_supported");
    root.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "uefi"));
    assertThat(root.text("VM.get_secureboot_readiness", vm)).isEqualTo("disabled");
  }
}
