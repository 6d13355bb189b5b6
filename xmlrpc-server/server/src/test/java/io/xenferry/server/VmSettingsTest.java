package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Settings of VMs. */
class VmSettingsTest {
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
  void aVmBecomesADefaultTemplate() throws Exception {
    String vm = root.vm("golden", Map.of());
    root.call("VM.set_is_default_template", vm, true);
    assertThat(root.call("VM.get_is_a_template", vm)).isEqualTo(Value.of(true));
    assertThat(root.call("VM.get_is_default_template", vm)).isEqualTo(Value.of(true));
    assertThat(TestServer.member(root.call("VM.get_other_config", vm), "default_template"))
        .isEqualTo(Value.of("true"));
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .contains("clone")
        .doesNotContain("start");
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.destroy", vm));
    root.call("VM.set_is_default_template", vm, false);
    assertThat(root.call("VM.get_is_a_template", vm)).isEqualTo(Value.of(true));
    root.call("VM.destroy", vm);

    String running = root.vm("runs", Map.of());
    root.call("VM.start", running, true, false);
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.set_is_default_template", running, true));
    root.call("VM.hard_shutdown", running);
  }

  @Test
  void thereIsNoVendorDevice() throws Exception {
    String vm = root.vm("vendor", Map.of());
    root.call("VM.set_has_vendor_device", vm, false);
    assertThat(root.call("VM.get_has_vendor_device", vm)).isEqualTo(Value.of(false));
    assertThat(
            assertCode("LICENCE_RESTRICTION", () -> root.call("VM.set_has_vendor_device", vm, true))
                .params())
        .containsExactly("PCI_device_for_auto_update");
    assertThat(root.call("VM.get_has_vendor_device", vm)).isEqualTo(Value.of(false));
  }

  @Test
  void aBootRecordTellsWhatRuns() throws Exception {
    String vm = root.vm("booted", Map.of());
    assertThat(root.call("VM.get_boot_record", vm)).isEqualTo(root.call("VM.get_record", vm));
    root.call("VM.set_VCPUs_max", vm, 2);
    root.call("VM.set_VCPUs_at_startup", vm, 2);
    root.call("VM.start", vm, true, false);
    assertThat(TestServer.member(root.call("VM.get_boot_record", vm), "VCPUs_at_startup"))
        .isEqualTo(TestServer.member(root.call("VM.get_record", vm), "VCPUs_at_startup"));
    root.call("VM.hard_shutdown", vm);
    assertCode("HANDLE_INVALID", () -> root.call("VM.get_boot_record", "OpaqueRef:none"));
  }

  private static String group(String name) throws XenApiException {
    return root.text(
        "VM_group.create",
        RecordsTest.required("VM_group", Map.of("name_label", name, "placement", "anti_affinity")));
  }

  @Test
  void aVmIsInOneGroup() throws Exception {
    String vm = root.vm("grouped", Map.of());
    String one = group("one");
    String two = group("two");
    root.call("VM.set_groups", vm, List.of(one));
    assertThat(TestServer.texts(root.call("VM_group.get_VMs", one))).containsExactly(vm);
    assertCode("TOO_MANY_GROUPS", () -> root.call("VM.set_groups", vm, List.of(one, two)));
    assertCode("HANDLE_INVALID", () -> root.call("VM.set_groups", vm, List.of("OpaqueRef:no")));
    root.call("VM.set_groups", vm, List.of(two, two));
    assertThat(TestServer.texts(root.call("VM_group.get_VMs", one))).isEmpty();
    root.call("VM_group.destroy", two);
    assertThat(TestServer.texts(root.call("VM.get_groups", vm))).isEmpty();
    assertCode("HANDLE_INVALID", () -> root.call("VM_group.destroy", two));
    root.call("VM_group.destroy", one);
  }
}
