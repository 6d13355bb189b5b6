package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.DatabaseChecker;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Users;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class SessionTest {
  private static TestServer server;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  @Test
  void logsInAndOut() throws Exception {
    TestServer.Calls root = server.calls();
    assertThat(root.call("session.get_is_local_superuser", root.session()))
        .isEqualTo(Value.of(true));
    assertThat(root.text("session.get_this_host", root.session())).isEqualTo(root.only("host"));
    root.call("session.logout");
    assertCode("SESSION_INVALID", () -> root.call("pool.get_all"));
    TestServer.Calls local = server.calls();
    local.call("session.local_logout");
    assertCode("SESSION_INVALID", () -> local.call("pool.get_all"));
  }

  @Test
  void loginTakesTwoToFourArguments() throws Exception {
    Value root = Value.of("root");
    Value password = Value.of(server.password);
    server.api.call("session.login_with_password", root, password, Value.of("2.0"));
    server.api.call("session.login_with_password", root, password, Value.of("2.0"), Value.of("me"));
    XenApiException e =
        assertCode(
            "MESSAGE_PARAMETER_COUNT_MISMATCH",
            () -> server.api.call("session.login_with_password", root));
    assertThat(e.params()).containsExactly("session.login_with_password", "2", "1");
  }

  @Test
  void theOldestSessionOfAnOriginatorGoesWhenThereAreTooMany() throws Exception {
    String oldest = loginAs("crowd");
    String used = loginAs("crowd");
    String other = loginAs("somebody else");
    for (int i = 2; i < 20; i++) {
      loginAs("crowd");
    }
    server.api.call("pool.get_all", Value.of(used));
    server.api.call("pool.get_all", Value.of(oldest));
    server.api.call("pool.get_all", Value.of(used));
    String last = loginAs("crowd");
    loginAs("crowd");
    // Those that were used a moment ago are not the oldest.
    for (String kept : new String[] {used, oldest, other, last}) {
      server.api.call("pool.get_all", Value.of(kept));
    }
    assertThat(
            server.server.context().sessions().all().stream()
                .filter(session -> session.origin().equals("crowd")))
        .hasSize(20);
  }

  private static String loginAs(String originator) throws Exception {
    return ((Value.Text)
            server.api.call(
                "session.login_with_password",
                Value.of("root"),
                Value.of(server.password),
                Value.of("2.0"),
                Value.of(originator)))
        .text();
  }

  @Test
  void aWrongPasswordIsRefusedAndTheRightOneIsInAFileOfItsOwnersOnly() throws Exception {
    for (String user : new String[] {"root", "nobody", ""}) {
      XenApiException e =
          assertCode(
              "SESSION_AUTHENTICATION_FAILED",
              () ->
                  server.api.call(
                      "session.login_with_password", Value.of(user), Value.of("wrong")));
      assertThat(e.params().getFirst()).isEqualTo(user);
    }
    for (String file : new String[] {"root-password", "users", "server.p12"}) {
      assertThat(
              PosixFilePermissions.toString(
                  Files.getPosixFilePermissions(server.directory.resolve(file))))
          .isEqualTo("rw-------");
    }
    assertThat(Files.readString(server.directory.resolve("users"))).doesNotContain(server.password);
  }

  @Test
  void changesItsPassword() throws Exception {
    server.server.context().users().put("carol", Users.SUPERUSER, "first-password");
    TestServer.Calls carol = login("carol", "first-password");
    assertCode(
        "CHANGE_PASSWORD_REJECTED",
        () -> carol.call("session.change_password", "first-password", "short"));
    assertCode(
        "CHANGE_PASSWORD_REJECTED",
        () -> carol.call("session.change_password", "first-password", "\uD83D\uDD11".repeat(3)));
    carol.call("session.change_password", "first-password", "second-password");
    login("carol", "second-password");
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("carol", "first-password"));
  }

  @Test
  void rolesLimitWhatASessionMayDo() throws Exception {
    server.server.context().users().put("dave", "read-only", "some-password");
    TestServer.Calls dave = login("dave", "some-password");
    String pool = dave.only("pool");
    XenApiException e =
        assertCode("RBAC_PERMISSION_DENIED", () -> dave.call("pool.set_name_label", pool, "mine"));
    assertThat(e.params().getFirst()).isEqualTo("pool.set_name_label");
    TestServer.Calls root = server.calls();
    assertThat(TestServer.texts(root.call("session.get_all_subject_identifiers"))).contains("dave");
    root.call("session.logout_subject_identifier", "dave");
    assertCode("SESSION_INVALID", () -> dave.call("pool.get_all"));
  }

  @Test
  void whatItHasBegunDoesNotNameItOnceItHasEnded() throws Exception {
    TestServer.Calls brief = server.calls();
    String task = brief.text("task.create", "longer", "");
    assertThat(DatabaseChecker.check(server.server.context().db().snapshot())).isEmpty();
    brief.call("session.logout");
    assertThat(server.calls().text("task.get_name_label", task)).isEqualTo("longer");
    assertThat(DatabaseChecker.check(server.server.context().db().snapshot())).isEmpty();
  }

  @Test
  void aSessionTellsItsPermissions() throws Exception {
    server.server.context().users().put("ivan", "vm-operator", "some-password");
    TestServer.Calls ivan = login("ivan", "some-password");
    assertThat(TestServer.texts(ivan.call("session.get_rbac_permissions", ivan.session())))
        .contains("vm.start", "vm.add_to_other_config/key:folder")
        .doesNotContain(
            "vm.add_to_other_config", "vm.add_to_other_config/key:pci", "vm.destroy", "VM.start")
        .containsAll(
            TestServer.texts(
                ivan.call(
                    "role.get_permissions_name_label",
                    TestServer.texts(ivan.call("role.get_by_name_label", "vm-operator"))
                        .getFirst())));
    TestServer.Calls root = server.calls();
    assertThat(TestServer.texts(root.call("session.get_rbac_permissions", root.session())))
        .as("root may do everything without any")
        .isEmpty();
  }

  @Test
  void someKeysHaveRolesOfTheirOwn() throws Exception {
    server.server.context().users().put("judy", "vm-admin", "some-password");
    server.server.context().users().put("kurt", "vm-operator", "some-password");
    TestServer.Calls judy = login("judy", "some-password");
    TestServer.Calls kurt = login("kurt", "some-password");
    TestServer.Calls root = server.calls();
    String vm = root.vm("keys", java.util.Map.of());

    XenApiException e =
        assertCode(
            "RBAC_PERMISSION_DENIED",
            () -> judy.call("VM.add_to_other_config", vm, "pci", "0/0000:00:1d.0"));
    assertThat(e.params().getFirst()).isEqualTo("vm.add_to_other_config/key:pci");
    assertCode(
        "RBAC_PERMISSION_DENIED",
        () -> judy.call("VM.add_to_platform", vm, "hvm_serial", "/dev/ttyS0"));
    root.call("VM.add_to_other_config", vm, "pci", "0/0000:00:1d.0");
    assertCode("RBAC_PERMISSION_DENIED", () -> judy.call("VM.remove_from_other_config", vm, "pci"));
    judy.call("VM.add_to_other_config", vm, "mine", "1");

    // A whole map: what needs more is to stay as it is.
    assertCode(
        "RBAC_PERMISSION_DENIED",
        () -> judy.call("VM.set_other_config", vm, java.util.Map.of("mine", "2")));
    assertCode(
        "RBAC_PERMISSION_DENIED",
        () -> judy.call("VM.set_platform", vm, java.util.Map.of("hvm_serial", "pty")));
    judy.call("VM.set_other_config", vm, java.util.Map.of("mine", "2", "pci", "0/0000:00:1d.0"));

    String pool = root.only("pool");
    kurt.call("VM.add_to_other_config", vm, "folder", "/a");
    kurt.call("VM.add_to_other_config", vm, "XenCenter.CustomFields.x", "y");
    kurt.call("pool.add_to_other_config", pool, "XenCenter.CustomFields.x", "y");
    kurt.call("pool.remove_from_other_config", pool, "XenCenter.CustomFields.x");
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> kurt.call("VM.add_to_other_config", vm, "folders", "/a"));
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> kurt.call("pool.add_to_other_config", pool, "auto", "1"));
    root.call("VM.destroy", vm);
  }

  @Test
  void aRestrictedSessionMayDoWhatItsTokenAllows() throws Exception {
    Session token =
        server
            .server
            .context()
            .sessions()
            .openRestricted("migration", (m, args) -> m.wireName().equals("host.get_servertime"));
    TestServer.Calls calls = new TestServer.Calls(server.api, token.ref());
    String host = server.calls().only("host");
    calls.call("host.get_servertime", host);
    assertCode("RBAC_PERMISSION_DENIED", () -> calls.call("pool.get_all"));
  }

  @Test
  void theOldestSessionsOfAnOriginatorGoWhenThereAreTooMany() throws Exception {
    String first = "";
    for (int i = 0; i < 22; i++) {
      String s =
          TestServer.text(
              server.api.call(
                  "session.login_with_password",
                  Value.of("root"),
                  Value.of(server.password),
                  Value.of("1"),
                  Value.of("greedy")));
      first = i == 0 ? s : first;
    }
    TestServer.Calls gone = new TestServer.Calls(server.api, first);
    assertCode("SESSION_INVALID", () -> gone.call("pool.get_all"));
  }

  @Test
  void internalCallsAndUnknownOnesAreRefusedAsPublished() throws Exception {
    TestServer.Calls root = server.calls();
    assertCode("INTERNAL_ERROR", () -> root.call("host.local_assert_healthy"));
    assertCode("MESSAGE_METHOD_UNKNOWN", () -> root.call("VM.fly"));
    assertCode("SESSION_INVALID", () -> server.api.call("VM.fly", Value.of("OpaqueRef:no")));
    assertThatThrownBy(() -> server.api.call("VM.fly"))
        .hasMessageContaining("MESSAGE_METHOD_UNKNOWN");
    assertThat(root.text("pool_get_uuid", root.only("pool"))).hasSize(36);
  }

  private static TestServer.Calls login(String user, String password) throws XenApiException {
    return new TestServer.Calls(
        server.api,
        TestServer.text(
            server.api.call("session.login_with_password", Value.of(user), Value.of(password))));
  }

  interface Action {
    void run() throws Exception;
  }

  static XenApiException assertCode(String code, Action action) {
    XenApiException e = catchThrowableOfType(XenApiException.class, action::run);
    assertThat(e).as("an error " + code).isNotNull();
    assertThat(e.code()).as(e.toString()).isEqualTo(code);
    return e;
  }

  @Test
  void sessionsAreSecret() throws Exception {
    Set<String> seen = new java.util.HashSet<>();
    for (int i = 0; i < 5; i++) {
      assertThat(seen.add(server.login())).isTrue();
    }
  }
}
