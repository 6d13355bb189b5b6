package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Registry;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What is not here is refused as published servers refuse it. */
class RefusalsTest {
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

  /** With arguments that are as many as they must be, and nothing else. */
  @Test
  void eachRefusalIsAnsweredAsTheTableSays() throws Exception {
    int refused = 0;
    for (ClassDef c : DataModel.classes()) {
      for (MessageDef m : c.messages()) {
        if (server.server.dispatcher().registry().entry(m) instanceof Registry.Refused r) {
          List<Value> params =
              new ArrayList<>(Collections.nCopies(m.params().size(), Value.of("OpaqueRef:none")));
          if (m.session()) {
            params.addFirst(Value.of(root.session()));
          }
          assertThatThrownBy(() -> root.api().call(m.wireName(), params))
              .as(m.wireName())
              .isInstanceOfSatisfying(
                  XenApiException.class, e -> assertThat(e.code()).isEqualTo(r.code()));
          refused++;
        }
      }
    }
    assertThat(refused).isGreaterThan(300);
  }

  @Test
  void theHostsInterfacesAreItsOwn() throws Exception {
    String pif = root.only("PIF");
    String host = root.only("host");
    String network = root.text("PIF.get_network", pif);
    String device = root.text("PIF.get_device", pif);
    assertThat(root.call("PIF.get_managed", pif)).isEqualTo(Value.of(false));
    Map<String, Object[]> unmanaged =
        Map.of(
            "VLAN.create", new Object[] {pif, 5, network},
            "pool.create_VLAN_from_PIF", new Object[] {pif, network, 5},
            "pool.create_VLAN", new Object[] {device, network, 5},
            "PIF.create_VLAN", new Object[] {device, network, host, 5},
            "PIF.reconfigure_ip", new Object[] {pif, "DHCP", "", "", "", ""},
            "PIF.reconfigure_ipv6", new Object[] {pif, "DHCP", "", "", ""},
            "PIF.set_property", new Object[] {pif, "gro", "on"},
            "PIF.set_primary_address_type", new Object[] {pif, "IPv6"});
    for (Map.Entry<String, Object[]> e : unmanaged.entrySet()) {
      assertThat(assertCode("PIF_UNMANAGED", () -> root.call(e.getKey(), e.getValue())).params())
          .as(e.getKey())
          .containsExactly(pif);
    }
    assertCode("VLAN_TAG_INVALID", () -> root.call("VLAN.create", pif, 4095, network));
    assertCode("INVALID_VALUE", () -> root.call("pool.create_VLAN", "none7", network, 5));
    assertCode("HANDLE_INVALID", () -> root.call("PIF.set_property", "OpaqueRef:no", "gro", "on"));
    // What is so already.
    root.call("PIF.plug", pif);
    root.call("PIF.set_disallow_unplug", pif, true);
    assertThat(root.call("PIF.get_disallow_unplug", pif)).isEqualTo(Value.of(true));
    root.call("PIF.set_primary_address_type", pif, "IPv4");
    root.call("host.management_reconfigure", pif);
    root.call("pool.management_reconfigure", network);
    String elsewhere =
        root.text("network.create", RecordsTest.required("network", Map.of("name_label", "no")));
    assertCode("PIF_NOT_PRESENT", () -> root.call("pool.management_reconfigure", elsewhere));
    root.call("network.destroy", elsewhere);
  }

  @Test
  void whatHasNoObjectsHasNone() throws Exception {
    assertThat(
            assertCode("HANDLE_INVALID", () -> root.call("pool_patch.apply", "OpaqueRef:x", ""))
                .params())
        .containsExactly("pool_patch", "OpaqueRef:x");
    assertThat(
            assertCode("HANDLE_INVALID", () -> root.call("VGPU.set_extra_args", List.of(), ""))
                .params())
        .containsExactly("VGPU", "");
    // One that there is after all is not said to be missing.
    String[] bond = new String[1];
    server.server.context().db().change(tx -> bond[0] = tx.create("Bond", Map.of()));
    assertCode("NOT_IMPLEMENTED", () -> root.call("Bond.destroy", bond[0]));
    server.server.context().db().change(tx -> tx.delete("Bond", bond[0]));
    assertCode("HANDLE_INVALID", () -> root.call("Bond.destroy", bond[0]));
  }

  @Test
  void aFeatureThatIsMissingIsSaidBeforehand() throws Exception {
    Map<String, Value> license =
        ((Value.Struct) root.call("host.get_license_params", root.only("host"))).members();
    Map<String, Value> pool =
        ((Value.Struct) root.call("pool.get_restrictions", root.only("pool"))).members();
    Map<String, String> keys =
        Map.of(
            "VGPU.create", "gpu",
            "VUSB.create", "usb_passthrough",
            "PVS_site.introduce", "pvs_proxy",
            "Cluster.create", "corosync",
            "Repository.introduce", "updates",
            "pool.rotate_secret", "pool_secret_rotation",
            "pool.initialize_wlb", "wlb",
            "VIF.set_ipv4_allowed", "vif_locking");
    for (Map.Entry<String, String> each : keys.entrySet()) {
      MessageDef m = DataModel.message(each.getKey()).orElseThrow();
      assertThat(server.server.dispatcher().registry().entry(m))
          .as(each.getKey())
          .isInstanceOfSatisfying(
              Registry.Refused.class, r -> assertThat(r.code()).isEqualTo("LICENCE_RESTRICTION"));
      String key = "restrict_" + each.getValue();
      assertThat(license).containsEntry(key, Value.of("true"));
      assertThat(pool).containsEntry(key, Value.of("true"));
    }
  }

  @Test
  void whatIsNotThereIsRefusedByItsObject() throws Exception {
    String host = root.only("host");
    String pif = root.only("PIF");
    String network = root.only("network");
    String sr = root.sr(server.directory.resolve("sr"));
    String vdi = root.vdi(sr, "disk", 1 << 20);
    String vm = root.vm("vm", Map.of());
    refused("HA_NOT_INSTALLED", host, "pool.enable_ha", List.of(sr), Map.of());
    assertCode("CANNOT_ENABLE_REDO_LOG", () -> root.call("pool.enable_redo_log", sr));
    refused("SR_OPERATION_NOT_SUPPORTED", sr, "SR.assert_can_host_ha_statefile", sr);
    refused("SR_OPERATION_NOT_SUPPORTED", sr, "SR.assert_supports_database_replication", sr);
    refused("SR_OPERATION_NOT_SUPPORTED", sr, "SR.enable_database_replication", sr);
    refused("SR_OPERATION_NOT_SUPPORTED", sr, "host.enable_local_storage_caching", host, sr);
    refused("PIF_IS_MANAGEMENT_INTERFACE", pif, "PIF.unplug", pif);
    refused("PIF_IS_MANAGEMENT_INTERFACE", pif, "PIF.forget", pif);
    refused("PIF_IS_PHYSICAL", pif, "PIF.destroy", pif);
    assertCode(
        "PIF_BOND_NEEDS_MORE_MEMBERS",
        () -> root.call("Bond.create", network, List.of(pif, pif), ""));
    assertCode(
        "HANDLE_INVALID", () -> root.call("Bond.create", network, List.of("OpaqueRef:no"), ""));
    refused("HOST_CANNOT_DESTROY_SELF", host, "host.destroy", host);
    refused("HOST_IS_LIVE", host, "host.declare_dead", host);
    refused("NOT_SYSTEM_DOMAIN", vm, "VM.query_services", vm);
    assertThat(
            assertCode("VDI_INCOMPATIBLE_TYPE", () -> root.call("VDI.open_database", vdi)).params())
        .containsExactly(vdi, "user");
    assertCode("VDI_INCOMPATIBLE_TYPE", () -> root.call("VDI.read_database_pool_uuid", vdi));
    assertCode("HANDLE_INVALID", () -> root.call("PIF.unplug", "OpaqueRef:none"));
    root.call("VM.destroy", vm);
  }

  private static void refused(String code, String param, String message, Object... args)
      throws Exception {
    assertThat(assertCode(code, () -> root.call(message, args)).params()).containsExactly(param);
  }
}
