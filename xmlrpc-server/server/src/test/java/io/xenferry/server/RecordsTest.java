package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Coercion;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class RecordsTest {
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

  static Map<String, Object> network(String name) {
    return Map.of("name_label", name, "other_config", Map.of());
  }

  /** A constructor's record with every field that has no default. */
  static Map<String, Object> required(String className, Map<String, Object> set) {
    Map<String, Object> record = new LinkedHashMap<>();
    for (FieldDef f : DataModel.classDef(className).constructorFields()) {
      if (f.defaultValue().isEmpty()) {
        record.put(f.name(), Types.zero(f.type()));
      }
    }
    record.putAll(set);
    return record;
  }

  static String vm(TestServer.Calls calls, String name) throws XenApiException {
    return calls.text(
        "VM.create",
        required(
            "VM",
            Map.of(
                "name_label",
                name,
                "VCPUs_max",
                2,
                "VCPUs_at_startup",
                1,
                "memory_static_max",
                1024)));
  }

  @Test
  void setsHoldNothingTwice() throws Exception {
    String made =
        root.text(
            "network.create",
            RecordsTest.required("network", Map.of("tags", List.of("a", "b", "a"))));
    assertThat(TestServer.texts(root.call("network.get_tags", made))).containsExactly("a", "b");
    root.call("network.set_tags", made, List.of("x", "x"));
    assertThat(TestServer.texts(root.call("network.get_tags", made))).containsExactly("x");
    root.call("network.destroy", made);
  }

  @Test
  void aConstructorWantsWhateverHasNoDefault() throws Exception {
    List<String> accepted = new ArrayList<>();
    int asked = 0;
    for (ClassDef c : DataModel.classes()) {
      MessageDef create = DataModel.message(c.name() + ".create").orElse(null);
      if (create == null
          || create.kind() != MessageDef.Kind.CREATE
          || server.server.dispatcher().registry().entry(create) instanceof Registry.Refused) {
        continue;
      }
      for (FieldDef f : c.constructorFields()) {
        if (f.defaultValue().isEmpty()) {
          Map<String, Object> record = required(c.name(), Map.of());
          record.remove(f.name());
          asked++;
          try {
            root.call(c.name() + ".create", record);
            accepted.add(f.wireName());
          } catch (XenApiException e) {
            if (!e.code().equals("INVALID_VALUE") || !e.params().getFirst().equals(f.name())) {
              accepted.add(f.wireName() + " " + e.getMessage());
            }
          }
        }
      }
    }
    assertThat(accepted).isEmpty();
    assertThat(asked).isGreaterThan(50);
  }

  @Test
  void everyRecordOfEveryClassHasEveryFieldWithItsType() throws Exception {
    // One object of each class, with nothing but defaults.
    Map<String, String> made = new LinkedHashMap<>();
    server
        .server
        .context()
        .db()
        .change(tx -> {
          for (ClassDef c : DataModel.classes()) {
            if (c.inDatabase() && !c.lifecycle().removed()) {
              made.put(c.name(), tx.create(c.name(), Map.of()));
            }
          }
        });
    for (Map.Entry<String, String> e : made.entrySet()) {
      ClassDef c = DataModel.classDef(e.getKey());
      Value record = root.call(c.name() + ".get_record", e.getValue());
      Map<String, Value> members = ((Value.Struct) record).members();
      for (FieldDef f : c.fields()) {
        if (f.internal()) {
          assertThat(members).doesNotContainKey(f.name());
          continue;
        }
        assertThat(members).as(c.name()).containsKey(f.name());
        Value typed = Coercion.coerce(f.name(), f.type(), members.get(f.name()));
        assertThat(Types.fault(f.type(), typed)).as(f.wireName()).isEmpty();
        if (!f.lifecycle().removed()) {
          assertThat(root.call(c.name() + ".get_" + f.name(), e.getValue()))
              .as(f.wireName())
              .isEqualTo(members.get(f.name()));
        }
      }
      if (c.getAll() && c.field("uuid").isPresent()) {
        String uuid = TestServer.text(members.get("uuid"));
        assertThat(root.text(c.name() + ".get_by_uuid", uuid)).isEqualTo(e.getValue());
        assertThat(
                TestServer.texts(
                    root.call(c.name() + ".get_all_where", "field \"uuid\"=\"" + uuid + "\"")))
            .containsExactly(e.getValue());
      }
    }
    server
        .server
        .context()
        .db()
        .change(tx -> {
          for (Map.Entry<String, String> e : made.entrySet()) {
            tx.delete(e.getKey(), e.getValue());
          }
        });
  }

  @Test
  void settersAddAndRemove() throws Exception {
    String n = root.text("network.create", network("one"));
    root.call("network.add_tags", n, "red");
    root.call("network.add_tags", n, "red");
    assertThat(TestServer.texts(root.call("network.get_tags", n))).containsExactly("red");
    root.call("network.remove_tags", n, "red");
    root.call("network.add_to_other_config", n, "k", "v");
    XenApiException e =
        assertCode(
            "MAP_DUPLICATE_KEY", () -> root.call("network.add_to_other_config", n, "k", "w"));
    assertThat(e.params()).containsExactly("network", "other_config", n, "k");
    root.call("network.remove_from_other_config", n, "k");
    root.call("network.remove_from_other_config", n, "k");
    root.call("network.set_MTU", n, "9000");
    assertThat(root.text("network.get_MTU", n)).isEqualTo("9000");
    assertThat(TestServer.texts(root.call("network.get_by_name_label", "one"))).contains(n);
    assertCode("INVALID_VALUE", () -> root.call("network.set_MTU", n, "many"));
    assertCode("INVALID_VALUE", () -> root.call("network.set_MTU", n, -5));
    assertCode("INVALID_VALUE", () -> root.call("network.set_MTU", n, true));
    assertCode("UUID_INVALID", () -> root.call("network.get_by_uuid", "nope"));
    assertCode("HANDLE_INVALID", () -> root.call("network.get_record", "OpaqueRef:nope"));
    assertCode("INVALID_VALUE", () -> root.call("network.get_all_records_where", "field \"x"));
  }

  @Test
  void networksComeAndGo() throws Exception {
    String n = root.text("network.create", network("two"));
    assertThat(root.text("network.get_bridge", n)).startsWith("xapi");
    String vm = vm(root, "netvm");
    String vif =
        root.text("VIF.create", required("VIF", Map.of("VM", vm, "network", n, "device", "0")));
    assertThat(assertCode("NETWORK_CONTAINS_VIF", () -> root.call("network.destroy", n)).params())
        .containsExactly(vif);
    root.call("VM.destroy", vm);
    root.call("network.destroy", n);
    String management = root.text("PIF.get_network", root.only("PIF"));
    assertCode("NETWORK_CONTAINS_PIF", () -> root.call("network.destroy", management));
    assertCode("INVALID_VALUE", () -> root.call("network.create", Map.of("name_label", "x")));
  }

  @Test
  void vifsAreChecked() throws Exception {
    String vm = vm(root, "vifvm");
    String n = root.only("network");
    Map<String, Object> vif = required("VIF", Map.of("VM", vm, "network", n, "device", "0"));
    String made = root.text("VIF.create", vif);
    assertThat(root.text("VIF.get_MAC", made)).matches("[0-9a-f][26ae](:[0-9a-f]{2}){5}");
    assertThat(TestServer.texts(root.call("VM.get_VIFs", vm))).containsExactly(made);
    assertCode("DEVICE_ALREADY_EXISTS", () -> root.call("VIF.create", vif));
    assertCode("MAC_INVALID", () -> root.call("VIF.create", with(vif, "device", "1", "MAC", "x")));
    // Clients that give each interface a rate go on without one, as the record says.
    String rated =
        root.text("VIF.create", with(vif, "device", "1", "qos_algorithm_type", "ratelimit"));
    assertThat(TestServer.texts(root.call("VIF.get_qos_supported_algorithms", rated))).isEmpty();
    root.call("VIF.destroy", rated);
    for (String device : List.of("eth0", "-1", "8", "99")) {
      assertCode("INVALID_DEVICE", () -> root.call("VIF.create", with(vif, "device", device)));
    }
    assertCode(
        "HANDLE_INVALID",
        () -> root.call("VIF.create", with(vif, "device", "1", "network", "OpaqueRef:no")));
    assertThat(TestServer.texts(root.call("VM.get_allowed_VIF_devices", vm)))
        .containsExactly("1", "2", "3", "4", "5", "6");
    String other = root.text("network.create", network("other"));
    root.call("VIF.move", made, other);
    assertThat(root.text("VIF.get_network", made)).isEqualTo(other);
    root.call("VIF.destroy", made);
  }

  @Test
  void vbdsAreChecked() throws Exception {
    String vm = vm(root, "vbdvm");
    String[] vdi = new String[1];
    server.server.context().db().change(tx -> vdi[0] = tx.create("VDI", Map.of()));
    Map<String, Object> vbd =
        required(
            "VBD",
            Map.of(
                "VM", vm, "VDI", vdi[0], "userdevice", "autodetect", "mode", "RW", "type", "Disk"));
    String first = root.text("VBD.create", vbd);
    assertThat(root.text("VBD.get_userdevice", first)).isEqualTo("0");
    assertThat(root.text("VBD.get_device", first)).isEqualTo("xvda");
    String second = root.text("VBD.create", with(vbd, "userdevice", "xvdc"));
    assertThat(root.text("VBD.get_userdevice", second)).isEqualTo("2");
    assertCode(
        "DEVICE_ALREADY_EXISTS", () -> root.call("VBD.create", with(vbd, "userdevice", "0")));
    assertCode("INVALID_DEVICE", () -> root.call("VBD.create", with(vbd, "userdevice", "99")));
    assertCode("VBD_NOT_REMOVABLE_MEDIA", () -> root.call("VBD.create", with(vbd, "empty", true)));
    assertCode("VBD_CDS_MUST_BE_READONLY", () -> root.call("VBD.create", with(vbd, "type", "CD")));
    root.call("VBD.set_userdevice", second, "5");
    assertThat(root.text("VBD.get_device", second)).isEqualTo("xvdf");
    root.call("VBD.set_mode", second, "RO");
    root.call("VBD.set_type", second, "Floppy");
    assertThat(root.text("VBD.get_type", second)).isEqualTo("Floppy");
    assertThat(TestServer.texts(root.call("VM.get_allowed_VBD_devices", vm)))
        .contains("1", "2")
        .doesNotContain("0", "5");
    assertCode("NOT_IMPLEMENTED", () -> root.call("VBD.set_qos_algorithm_type", first, "ionice"));
    assertThat(TestServer.texts(root.call("VBD.get_qos_supported_algorithms", first))).isEmpty();
    assertCode("VBD_NOT_REMOVABLE_MEDIA", () -> root.call("VBD.eject", first));
    String drive =
        root.text("VBD.create", with(with(with(vbd, "type", "CD"), "mode", "RO"), "empty", true));
    assertCode("INVALID_DEVICE", () -> root.call("VBD.set_userdevice", drive, "6"));
    assertCode("VBD_IS_EMPTY", () -> root.call("VBD.eject", drive));
    root.call("VBD.insert", drive, vdi[0]);
    assertThat(root.text("VBD.get_VDI", drive)).isEqualTo(vdi[0]);
    assertCode("VBD_NOT_EMPTY", () -> root.call("VBD.insert", drive, vdi[0]));
    root.call("VBD.eject", drive);
    assertThat(root.call("VBD.get_empty", drive)).isEqualTo(Value.of(true));
    root.call("VBD.destroy", first);
    root.call("VM.destroy", vm);
    assertCode("HANDLE_INVALID", () -> root.call("VBD.get_record", second));
  }

  @Test
  void haltedVmsAreRecords() throws Exception {
    String vm = vm(root, "halted");
    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Halted");
    assertThat(root.text("VM.get_domid", vm)).isEqualTo("-1");
    root.call("VM.set_memory_limits", vm, 1024, 4096, 2048, 4096);
    assertThat(root.text("VM.get_memory_dynamic_min", vm)).isEqualTo("2048");
    assertCode("MEMORY_CONSTRAINT_VIOLATION", () -> root.call("VM.set_memory_static_max", vm, 1));
    root.call("VM.set_VCPUs_max", vm, 4);
    assertCode("INVALID_VALUE", () -> root.call("VM.set_VCPUs_at_startup", vm, 5));
    root.call("VM.set_name_label", vm, "renamed");
    root.call("VM.add_to_other_config", vm, "a", "b");
    String copy = root.text("VM.clone", vm, "copy");
    assertThat(root.text("VM.get_uuid", copy)).isNotEqualTo(root.text("VM.get_uuid", vm));
    root.call("VM.set_is_a_template", copy, true);
    root.call("VM.provision", copy);
    assertThat(root.call("VM.get_is_a_template", copy)).isEqualTo(Value.of(false));
    root.call("VM.set_memory_static_range", vm, 512, 8192);
    root.call("VM.set_memory_dynamic_range", vm, 1024, 4096);
    root.call("VM.set_memory_dynamic_max", vm, 2048);
    root.call("VM.set_memory_dynamic_min", vm, 1536);
    root.call("VM.set_memory_static_min", vm, 1024);
    assertThat(memory(vm)).containsExactly("1024", "1536", "2048", "8192");
    root.call("VM.set_memory", vm, 4096);
    assertThat(memory(vm)).containsExactly("1024", "4096", "4096", "4096");
    assertThat(root.text("VM.compute_memory_overhead", vm)).isEqualTo("0");
    assertCode("HANDLE_INVALID", () -> root.call("VM.compute_memory_overhead", "nonsense"));
    assertThat(root.call("VM.get_cooperative", vm)).isEqualTo(Value.of(true));
    assertThat(root.text("VM.maximise_memory", vm, (5L << 20) + 7, false))
        .isEqualTo(Long.toString(5L << 20));
    assertCode("INVALID_VALUE", () -> root.call("VM.maximise_memory", vm, -1, false));
    for (String message : List.of("VM.set_order", "VM.set_start_delay", "VM.set_shutdown_delay")) {
      root.call(message, vm, 7);
      assertThat(root.text(message.replace("set_", "get_"), vm)).isEqualTo("7");
      assertCode("INVALID_VALUE", () -> root.call(message, vm, -5));
    }
    assertThat(
            assertCode(
                    "INVALID_VALUE", () -> root.call("VM.set_order", vm, Map.of("a", List.of("b"))))
                .params())
        .containsExactly("value", "(('a' ('b')))");
    root.call("VM.update_allowed_operations", vm);
    root.call("VM.assert_operation_valid", vm, "start");
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.assert_operation_valid", vm, "pause"));
    root.call("VM.destroy", vm);
    root.call("VM.destroy", copy);
    String dom0 = root.text("host.get_control_domain", root.only("host"));
    assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.destroy", dom0));
  }

  private static List<String> memory(String vm) throws XenApiException {
    List<String> bytes = new ArrayList<>();
    for (String limit : List.of("static_min", "dynamic_min", "dynamic_max", "static_max")) {
      bytes.add(root.text("VM.get_memory_" + limit, vm));
    }
    return bytes;
  }

  @Test
  void aClonedVmHasItsDrives() throws Exception {
    String vm = vm(root, "with a drive");
    Map<String, Object> drive = new LinkedHashMap<>();
    drive.putAll(Map.of("VM", vm, "userdevice", "3", "type", "CD", "mode", "RO", "empty", true));
    root.call("VBD.create", required("VBD", drive));
    String copy = root.text("VM.clone", vm, "copy");
    String vbd = TestServer.texts(root.call("VM.get_VBDs", copy)).getFirst();
    assertThat(root.text("VBD.get_userdevice", vbd)).isEqualTo("3");
    assertThat(root.text("VBD.get_type", vbd)).isEqualTo("CD");
  }

  @Test
  void aBlockedOperationIsNotAllowed() throws Exception {
    String vm = vm(root, "blocked");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm))).contains("start");
    root.call("VM.add_to_blocked_operations", vm, "start", "because");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .doesNotContain("start");
    assertThat(assertCode("OPERATION_BLOCKED", () -> root.call("VM.start", vm, false, false)))
        .satisfies(e -> assertThat(e.params()).containsExactly(vm, "because"));
    root.call("VM.remove_from_blocked_operations", vm, "start");
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm))).contains("start");
    root.call("VM.set_blocked_operations", vm, Map.of("destroy", "no"));
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .doesNotContain("destroy");
    assertCode("OPERATION_BLOCKED", () -> root.call("VM.destroy", vm));
  }

  @Test
  void whatAGuestsEndLeadsToIsFixed() throws Exception {
    String vm = vm(root, "actions");
    root.call("VM.set_actions_after_shutdown", vm, "destroy");
    root.call("VM.set_actions_after_reboot", vm, "restart");
    root.call("VM.set_actions_after_softreboot", vm, "soft_reboot");
    root.call("VM.set_actions_after_crash", vm, "destroy");
    assertThat(root.text("VM.get_actions_after_crash", vm)).isEqualTo("destroy");
    root.call("VM.set_actions_after_crash", vm, "restart");
    assertThat(root.text("VM.get_actions_after_crash", vm)).isEqualTo("restart");
    assertCode(
        "NOT_IMPLEMENTED",
        () -> root.call("VM.set_actions_after_crash", vm, "coredump_and_restart"));
    assertCode("NOT_IMPLEMENTED", () -> root.call("VM.set_actions_after_reboot", vm, "destroy"));
    assertCode("INVALID_VALUE", () -> root.call("VM.set_actions_after_crash", vm, "explode"));
    assertCode(
        "HANDLE_INVALID",
        () -> root.call("VM.set_actions_after_crash", "OpaqueRef:none", "destroy"));
  }

  @Test
  void referencesToNothingAreRefused() throws Exception {
    String vm = vm(root, "refs");
    XenApiException e =
        assertCode("HANDLE_INVALID", () -> root.call("VM.set_affinity", vm, "OpaqueRef:none"));
    assertThat(e.params()).containsExactly("host", "OpaqueRef:none");
    root.call("VM.set_affinity", vm, "");
    root.call("VM.set_affinity", vm, root.only("host"));
    root.call("VM.set_affinity", vm, "OpaqueRef:NULL");
    String pool = root.only("pool");
    assertCode("HANDLE_INVALID", () -> root.call("pool.set_default_SR", pool, "OpaqueRef:none"));
    assertCode("HANDLE_INVALID", () -> root.call("pool.set_default_SR", pool, vm));
    Map<String, Object> record =
        required(
            "VM", Map.of("name_label", "x", "VCPUs_max", 1, "VCPUs_at_startup", 1, "affinity", vm));
    assertThat(assertCode("HANDLE_INVALID", () -> root.call("VM.create", record)).params())
        .containsExactly("host", vm);
  }

  @Test
  void constructorsRefuseNonsense() throws Exception {
    int before = TestServer.texts(root.call("VM.get_all")).size();
    Map<String, Object> vm =
        required("VM", Map.of("name_label", "x", "VCPUs_max", 1, "VCPUs_at_startup", 1));
    for (Object nonsense : List.of("text", 5, true, List.of("a"), List.of())) {
      assertCode("INVALID_VALUE", () -> root.call("VM.create", nonsense));
    }
    for (String field : required("VM", Map.of()).keySet()) {
      Map<String, Object> less = new LinkedHashMap<>(vm);
      less.remove(field);
      assertThat(assertCode("INVALID_VALUE", () -> root.call("VM.create", less)).params())
          .as("without " + field)
          .first()
          .isEqualTo(field);
    }
    Map<String, List<Object>> wrong =
        Map.of(
            "name_label", List.of(true, List.of(), Map.of()),
            "memory_static_max", List.of("lots", "", "1.5", true, "9223372036854775808", Map.of()),
            "is_a_template", List.of("true", 1, ""),
            "HVM_shadow_multiplier", List.of("much", true, Map.of()),
            "other_config", List.of("", List.of(), Map.of("k", List.of())),
            "actions_after_reboot", List.of("", "RESTART", 1),
            "VCPUs_max", List.of(0, -1, 100_000),
            "affinity", List.of(true, Map.of()));
    wrong.forEach((field, values) ->
        values.forEach(
            v -> assertCode("INVALID_VALUE", () -> root.call("VM.create", with(vm, field, v)))));
    assertCode(
        "VM_BAD_POWER_STATE", () -> root.call("VM.create", with(vm, "power_state", "Running")));
    assertCode("INVALID_VALUE", () -> root.call("VM.create", with(vm, "power_state", "running")));
    assertCode("MESSAGE_PARAMETER_COUNT_MISMATCH", () -> root.call("VM.create"));
    assertCode("MESSAGE_PARAMETER_COUNT_MISMATCH", () -> root.call("VM.create", vm, vm));
    assertCode("HANDLE_INVALID", () -> root.call("VM.clone", "OpaqueRef:none", "copy"));
    assertCode("HANDLE_INVALID", () -> root.call("VM.clone", root.only("pool"), "copy"));
    assertCode("INVALID_VALUE", () -> root.call("VM.clone", List.of(), "copy"));
    assertCode("HANDLE_INVALID", () -> root.call("VM.destroy", ""));
    assertCode("SESSION_INVALID", () -> new TestServer.Calls(root.api(), "").call("VM.create", vm));
    assertThat(TestServer.texts(root.call("VM.get_all"))).as("nothing was made").hasSize(before);
    // What is unknown is ignored, as published.
    String made = root.text("VM.create", with(vm, "flavour", "salty", "uuid", 7));
    root.call("VM.destroy", made);
  }

  @Test
  void manyRecordsAreStreamed() throws Exception {
    server
        .server
        .context()
        .db()
        .change(tx -> {
          for (int i = 0; i < 5_000; i++) {
            tx.create("secret", Map.of("value", Value.of("s" + i)));
          }
        });
    Value all = root.call("secret.get_all_records");
    assertThat(((Value.Struct) all).members()).hasSizeGreaterThanOrEqualTo(5_000);
  }

  static Map<String, Object> with(Map<String, Object> record, Object... changes) {
    Map<String, Object> changed = new LinkedHashMap<>(record);
    for (int i = 0; i < changes.length; i += 2) {
      changed.put((String) changes[i], changes[i + 1]);
    }
    return changed;
  }
}
