package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The class {@code role}: built-in roles and their permissions. */
class RoleTest {
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

  private static String role(String name) throws Exception {
    return TestServer.texts(root.call("role.get_by_name_label", name)).getFirst();
  }

  @Test
  void rolesTellTheirPermissions() throws Exception {
    String role = role("read-only");
    assertThat(TestServer.texts(root.call("role.get_permissions_name_label", role)))
        .contains("vm.get_record")
        .doesNotContain("vm.destroy");
    String permission = role("vm.get_record");
    String destroying = role("vm.destroy");
    assertThat(TestServer.texts(root.call("role.get_permissions", role)))
        .contains(permission)
        .doesNotContain(destroying)
        .isEqualTo(TestServer.texts(root.call("role.get_subroles", role)));
    assertThat(TestServer.texts(root.call("role.get_by_permission_name_label", "vm.get_record")))
        .contains(role);
    assertThat(TestServer.texts(root.call("role.get_by_permission", permission))).contains(role);
    assertThat(TestServer.texts(root.call("role.get_by_permission", destroying)))
        .contains(role("pool-admin"))
        .doesNotContain(role);
    assertThat(TestServer.texts(root.call("role.get_by_permission", "OpaqueRef:none"))).isEmpty();
    assertCode("HANDLE_INVALID", () -> root.call("role.get_permissions", "OpaqueRef:none"));
  }

  @Test
  void rolesAndPermissionsAreListed() throws Exception {
    List<String> all = TestServer.texts(root.call("role.get_all"));
    Map<String, Value> records = ((Value.Struct) root.call("role.get_all_records")).members();
    assertThat(records).containsOnlyKeys(all);
    for (String name : List.of("vm-operator", "vm.add_to_other_config/key:folder")) {
      String ref = role(name);
      assertThat(all).contains(ref);
      Value record = root.call("role.get_record", ref);
      assertThat(records).containsEntry(ref, record);
      String uuid = root.text("role.get_uuid", ref);
      assertThat(root.text("role.get_by_uuid", uuid)).isEqualTo(ref);
      assertThat(root.text("role.get_name_label", ref)).isEqualTo(name);
      assertThat(root.text("role.get_name_description", ref))
          .isEqualTo(TestServer.text(TestServer.member(record, "name_description")));
      assertThat(root.call("role.get_is_internal", ref)).isEqualTo(Value.of(false));
      assertThat(TestServer.texts(root.call("role.get_subroles", ref)).isEmpty())
          .isEqualTo(name.contains("."));
    }
    assertCode("UUID_INVALID", () -> root.call("role.get_by_uuid", "none"));
    assertCode("HANDLE_INVALID", () -> root.call("role.get_record", "OpaqueRef:none"));
    assertThat(TestServer.texts(root.call("role.get_by_name_label", "nobody"))).isEmpty();
  }

  /** Expressions that are none of the query language: what published clients send. */
  @Test
  void rolesAreListedForXe() throws Exception {
    Map<String, Value> roles =
        ((Value.Struct) root.call("role.get_all_records_where", "subroles<>[]")).members();
    assertThat(roles).hasSize(7).containsKey(role("pool-admin"));
    Map<String, Value> permissions =
        ((Value.Struct) root.call("role.get_all_records_where", "subroles=[]")).members();
    assertThat(permissions).containsKey(role("vm.start")).doesNotContainKey(role("pool-admin"));
    assertThat(((Value.Struct) root.call("role.get_all_records_where", "true")).members())
        .hasSize(roles.size() + permissions.size());
    assertThat(root.call("role.get_all_records_where", "field \"name__label\" = \"none\""))
        .isEqualTo(Value.EMPTY_STRUCT);
    assertCode("INVALID_VALUE", () -> root.call("role.get_all_records_where", "subroles<>"));
    assertCode("INVALID_VALUE", () -> root.call("VM.get_all_records_where", "subroles<>[]"));
  }
}
