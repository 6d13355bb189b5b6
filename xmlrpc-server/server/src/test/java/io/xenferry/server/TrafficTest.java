package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Nobody is told that something is kept from a VM's interface that is not. */
class TrafficTest {
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

  private static Map<String, Object> vif(String vm, String mode) {
    return RecordsTest.required(
        "VIF", Map.of("VM", vm, "network", network(), "device", "0", "locking_mode", mode));
  }

  private static String network() {
    try {
      return root.only("network");
    } catch (io.xenferry.model.XenApiException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void nothingIsFiltered() throws Exception {
    String vm = root.vm("open", Map.of());
    for (String mode : List.of("locked", "disabled")) {
      assertCode("LICENCE_RESTRICTION", () -> root.call("VIF.create", vif(vm, mode)));
    }
    String vif = root.text("VIF.create", vif(vm, "network_default"));
    root.call("VIF.set_locking_mode", vif, "unlocked");
    assertThat(root.text("VIF.get_locking_mode", vif)).isEqualTo("unlocked");
    assertCode("LICENCE_RESTRICTION", () -> root.call("VIF.set_locking_mode", vif, "locked"));
    assertCode("INVALID_VALUE", () -> root.call("VIF.set_locking_mode", vif, "open"));
    assertCode(
        "HANDLE_INVALID", () -> root.call("VIF.set_locking_mode", "OpaqueRef:no", "unlocked"));
    assertThat(root.text("VIF.get_locking_mode", vif)).isEqualTo("unlocked");
    String network = network();
    root.call("network.set_default_locking_mode", network, "unlocked");
    assertCode(
        "LICENCE_RESTRICTION",
        () -> root.call("network.set_default_locking_mode", network, "disabled"));
    root.call("VIF.destroy", vif);
  }

  @Test
  void noGuestTakesAnAddress() throws Exception {
    String vm = root.vm("addressed", Map.of());
    String vif = root.text("VIF.create", vif(vm, "network_default"));
    for (String message : List.of("VIF.configure_ipv4", "VIF.configure_ipv6")) {
      root.call(message, vif, "None");
      assertThat(
              assertCode("VM_LACKS_FEATURE", () -> root.call(message, vif, "Static", "10.0.0.2/24"))
                  .params())
          .containsExactly(vm);
    }
  }
}
