package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.PIF;
import io.xenferry.model.PrimaryAddressType;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.SqliteDatabase;
import io.xenferry.server.boot.FirstStart;
import io.xenferry.server.boot.HostFacts;
import io.xenferry.server.config.ListenConfig;
import io.xenferry.server.config.ServerConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PoolAndHostTest {

  @Test
  void theHostAnswers() throws Exception {
    try (TestServer server = TestServer.start()) {
      TestServer.Calls root = server.calls();
      String host = root.only("host");
      assertThat(root.call("host.get_servertime", host)).isInstanceOf(Value.Time.class);
      assertThat(root.call("host.get_server_localtime", host)).isInstanceOf(Value.Time.class);
      assertThat(root.text("host.get_management_interface", host)).isEqualTo(root.only("PIF"));
      assertThat(root.text("host.get_server_certificate", host)).startsWith("-----BEGIN CERT");
      assertThat(Long.parseLong(root.text("host.compute_free_memory", host))).isPositive();
      assertThat(TestServer.texts(root.call("host.list_methods"))).contains("VM.start");
      assertThat(root.call("host.is_in_emergency_mode")).isEqualTo(Value.of(false));
      assertThat(root.text("host.compute_memory_overhead", host)).isEqualTo("0");
      assertThat(root.text("host.get_sched_gran", host)).isEqualTo("cpu");
      assertThat(root.call("host.get_uncooperative_resident_VMs", host))
          .isEqualTo(Value.EMPTY_ARRAY);
      assertThat(root.call("host.get_tracked_user_agents", host))
          .isEqualTo(TestServer.value(Map.of()));
      for (String message :
          List.of(
              "host.get_servertime", "host.get_server_localtime", "host.compute_memory_overhead")) {
        assertThat(
                SessionTest.assertCode("HANDLE_INVALID", () -> root.call(message, "nonsense"))
                    .params())
            .containsExactly("host", "nonsense");
      }
      root.call("host.disable", host);
      assertThat(root.call("host.get_enabled", host)).isEqualTo(Value.of(false));
      assertThat(TestServer.texts(root.call("host.get_allowed_operations", host)))
          .contains("enable")
          .doesNotContain("vm_migrate");
      root.call("host.enable", host);
      assertThat(TestServer.texts(root.call("host.get_allowed_operations", host)))
          .contains("vm_start", "vm_migrate")
          .doesNotContain("enable", "evacuate");
    }
  }

  @Test
  void theManagementInterfaceHasItsAddressOfEitherKind(@TempDir Path directory) throws Exception {
    for (String address : List.of("127.0.0.1", "::1")) {
      ServerConfig config =
          ServerConfig.defaults(directory)
              .with(new ListenConfig(address, 0, OptionalInt.empty(), Optional.empty()));
      ObjectDatabase db = MemoryDatabase.create();
      new FirstStart(config, Clock.systemUTC(), HostFacts.of(config.listen(), directory)).run(db);
      Snapshot snapshot = db.snapshot();
      Ref<PIF> pif = new Ref<>(snapshot.rows("PIF").iterator().next().ref());
      boolean six = address.contains(":");
      assertThat(snapshot.get(pif, PIF.IP)).isEqualTo(six ? "" : address);
      assertThat(snapshot.get(pif, PIF.IPV6)).hasSize(six ? 1 : 0);
      assertThat(snapshot.get(pif, PIF.PRIMARY_ADDRESS_TYPE))
          .isEqualTo(six ? PrimaryAddressType.IPV6 : PrimaryAddressType.IPV4);
    }
  }

  @Test
  void thePoolAnswers() throws Exception {
    try (TestServer server = TestServer.start()) {
      TestServer.Calls root = server.calls();
      String pool = root.only("pool");
      String host = root.only("host");
      assertThat(root.text("pool.get_master", pool)).isEqualTo(host);
      assertThat(root.text("pool.get_default_SR", pool)).isEqualTo("OpaqueRef:NULL");
      assertThat(root.call("pool.get_license_state", pool)).isInstanceOf(Value.Struct.class);
      assertThat(root.call("pool.certificate_list")).isEqualTo(Value.EMPTY_ARRAY);
      assertThat(root.call("pool.crl_list")).isEqualTo(Value.EMPTY_ARRAY);
      root.call("pool.detect_nonhomogeneous_external_auth", pool);
      root.call("pool.sync_database");
      assertThat(root.call("pool.is_slave", host)).isEqualTo(Value.of(false));
      // What clients look at before they accept a server.
      Map<String, Value> version =
          ((Value.Struct) root.call("host.get_software_version", host)).members();
      assertThat(TestServer.text(version.get("platform_version")))
          .matches("[3-9]\\.[0-9]+\\.[0-9]+");
      assertThat(TestServer.text(version.get("product_version"))).matches("[0-9]+(\\.[0-9]+)*");
      assertThat(((Value.Struct) root.call("host.get_license_params", host)).members())
          .containsEntry("restrict_storage_xen_motion", Value.of("false"))
          .containsEntry("restrict_pooling", Value.of("false"));
      assertThat(root.call("host_metrics.get_live", root.text("host.get_metrics", host)))
          .isEqualTo(Value.of(true));
      assertThat(root.call("PIF.get_management", root.only("PIF"))).isEqualTo(Value.of(true));
      List<String> types = new ArrayList<>();
      for (String sm : root.all("SM")) {
        types.add(root.text("SM.get_type", sm));
      }
      assertThat(types).contains("file").doesNotHaveDuplicates();
    }
  }

  @Test
  void theServersCertificateIsTold(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("pool.db");
    TestServer first = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    TestServer.Calls root = first.calls();
    String certificate = root.only("Certificate");
    Map<String, Value> record = root.record("Certificate", certificate);
    assertThat(record)
        .containsEntry("type", Value.of("host"))
        .containsEntry("host", Value.of(root.only("host")))
        .containsEntry("fingerprint_sha256", Value.of(first.server.fingerprint().toString()));
    assertThat(TestServer.text(record.get("fingerprint_sha1")))
        .matches("[0-9A-F]{2}(:[0-9A-F]{2}){19}");
    assertThat(((Value.Time) record.get("not_after")).instant()).isAfter(Instant.now());
    first.stop();
    TestServer second = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    assertThat(second.calls().all("Certificate")).containsExactly(certificate);
    second.stop();
  }

  @Test
  void templatesMakeVms(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("pool.db");
    TestServer first = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    TestServer.Calls root = first.calls();
    Map<String, String> templates = templates(root);
    assertThat(templates).containsKeys("Other install media", "Debian Bookworm 12");
    String template = templates.get("Debian Bookworm 12");
    SessionTest.assertCode("OPERATION_NOT_ALLOWED", () -> root.call("VM.destroy", template));
    String sr = root.sr(directory.resolve("sr"));
    root.call("pool.set_default_SR", root.only("pool"), sr);
    String vm = root.text("VM.clone", template, "made");
    assertThat(root.call("VM.get_is_default_template", vm)).isEqualTo(Value.of(false));
    root.call("VM.provision", vm);
    assertThat(root.call("VM.get_is_a_template", vm)).isEqualTo(Value.of(false));
    List<String> vbds = TestServer.texts(root.call("VM.get_VBDs", vm));
    assertThat(vbds).hasSize(1);
    String disk = root.text("VBD.get_VDI", vbds.getFirst());
    assertThat(root.text("VDI.get_virtual_size", disk)).isEqualTo(Long.toString(10L << 30));
    root.call("VM.set_name_label", template, "Ours");
    first.stop();
    TestServer second = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    Map<String, String> later = templates(second.calls());
    assertThat(later).hasSameSizeAs(templates).containsEntry("Ours", template);
    second.stop();
  }

  private static Map<String, String> templates(TestServer.Calls root) throws Exception {
    Map<String, String> templates = new TreeMap<>();
    for (String vm : root.all("VM")) {
      if (root.call("VM.get_is_default_template", vm).equals(Value.of(true))) {
        templates.put(root.text("VM.get_name_label", vm), vm);
      }
    }
    return templates;
  }

  @Test
  void aSecretKeepsItsUuid() throws Exception {
    try (TestServer server = TestServer.start()) {
      TestServer.Calls root = server.calls();
      String uuid = "5d1b2c6e-0c5f-4a57-9b0c-6c2c6d3a1f00";
      Map<String, String> config = Map.of("owner", "nobody");
      String secret = root.text("secret.introduce", uuid, "hush", config);
      assertThat(root.text("secret.get_by_uuid", uuid)).isEqualTo(secret);
      assertThat(root.text("secret.get_value", secret)).isEqualTo("hush");
      assertThat(root.call("secret.get_other_config", secret)).isEqualTo(TestServer.value(config));
      SessionTest.assertCode(
          "DB_UNIQUENESS_CONSTRAINT_VIOLATION", () -> root.call("secret.introduce", uuid, "again"));
      SessionTest.assertCode(
          "INVALID_VALUE", () -> root.call("secret.introduce", "../secret", "hush"));
      root.call("secret.destroy", secret);
    }
  }

  @Test
  void aRestartKeepsStateAndEndsSessions(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("pool.db");
    TestServer first = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    TestServer.Calls root = first.calls();
    String network = root.text("network.create", RecordsTest.network("kept"));
    String task = root.text("task.create", "left alone", "");
    String pool = root.only("pool");
    first.stop();
    TestServer second = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    TestServer.Calls again = second.calls();
    assertThat(again.only("pool")).isEqualTo(pool);
    assertThat(again.text("network.get_name_label", network)).isEqualTo("kept");
    assertThat(again.text("task.get_status", task)).isEqualTo("failure");
    assertThat(second.server.fingerprint()).isEqualTo(first.server.fingerprint());
    SessionTest.assertCode(
        "SESSION_INVALID",
        () -> new TestServer.Calls(second.api, root.session()).call("pool.get_all"));
    second.stop();
    assertThat(Files.exists(directory.resolve("socket"))).isFalse();
  }
}
