package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.session.Accounts;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Users and groups of the host who are let in with roles. */
class SubjectTest {
  private static final People PEOPLE = new People();
  private static TestServer server;
  private static TestServer.Calls root;
  private static String pool;
  private static String host;

  /**
   * alice and bob are in the group staff, and bob's account is closed; everybody's password is his
   * name.
   */
  private static final class People implements Accounts {
    private static final Map<String, String> IDENTIFIERS =
        Map.of("alice", "u1001", "bob", "u1002", "carol", "u1003", "staff", "g100", "root", "u0");

    final Set<String> gone = ConcurrentHashMap.newKeySet();
    volatile boolean closed;

    @Override
    public void close() {
      closed = true;
    }

    @Override
    public void requireUsable() {}

    @Override
    public Optional<String> identifier(String name) {
      return Optional.ofNullable(IDENTIFIERS.get(name));
    }

    @Override
    public Optional<SequencedMap<String, String>> information(String identifier) {
      return IDENTIFIERS.entrySet().stream()
          .filter(e -> e.getValue().equals(identifier) && !gone.contains(e.getKey()))
          .findFirst()
          .map(e -> new LinkedHashMap<>(Map.of("subject-name", e.getKey())));
    }

    @Override
    public List<String> groups(String identifier) {
      return Set.of("u1001", "u1002", "g100").contains(identifier) ? List.of("g100") : List.of();
    }

    @Override
    public Verdict authenticate(String name, String password) {
      if (!name.equals(password)) {
        return Verdict.WRONG;
      }
      return name.equals("bob") ? Verdict.CLOSED : Verdict.RIGHT;
    }
  }

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.startWith(PEOPLE);
    root = server.calls();
    pool = root.only("pool");
    host = root.only("host");
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
    assertThat(PEOPLE.closed).isTrue();
  }

  @BeforeEach
  void enable() throws Exception {
    root.call("pool.disable_external_auth", pool, Map.of());
    root.call("pool.enable_external_auth", pool, Map.of(), "here", "PAM");
    for (String subject : root.all("subject")) {
      root.call("subject.destroy", subject);
    }
  }

  private static TestServer.Calls login(String user) throws XenApiException {
    return login(user, user);
  }

  private static TestServer.Calls login(String user, String password) throws XenApiException {
    return new TestServer.Calls(
        server.api,
        TestServer.text(
            server.api.call("session.login_with_password", Value.of(user), Value.of(password))));
  }

  private static String subject(String name, String... roles) throws XenApiException {
    String identifier = root.text("auth.get_subject_identifier", name);
    String subject =
        root.text(
            "subject.create", Map.of("subject_identifier", identifier, "other_config", Map.of()));
    for (String role : roles) {
      root.call("subject.add_to_roles", subject, role(role));
    }
    return subject;
  }

  private static String role(String name) throws XenApiException {
    return TestServer.texts(root.call("role.get_by_name_label", name)).getFirst();
  }

  @Test
  void itIsOffUntilItIsEnabled() throws Exception {
    String alice = subject("alice", "vm-operator");
    login("alice");
    assertThat(root.text("host.get_external_auth_type", host)).isEqualTo("PAM");
    assertThat(root.text("host.get_external_auth_service_name", host)).isEqualTo("here");
    assertThat(
            assertCode(
                    "POOL_AUTH_ALREADY_ENABLED",
                    () -> root.call("pool.enable_external_auth", pool, Map.of(), "", "PAM"))
                .params())
        .containsExactly(host);
    assertThat(
            assertCode(
                    "AUTH_ALREADY_ENABLED",
                    () -> root.call("host.enable_external_auth", host, Map.of(), "", "PAM"))
                .params())
        .containsExactly("PAM", "here");
    TestServer.Calls before = login("alice");
    root.call("host.disable_external_auth", host, Map.of());
    assertCode("SESSION_INVALID", () -> before.call("pool.get_all"));
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("alice"));
    assertCode("AUTH_IS_DISABLED", () -> root.call("auth.get_subject_identifier", "alice"));
    assertCode(
        "AUTH_IS_DISABLED",
        () -> root.call("subject.create", Map.of("subject_identifier", "u1003")));
    root.call("host.disable_external_auth", host, Map.of());
    assertThat(
            assertCode(
                    "AUTH_UNKNOWN_TYPE",
                    () -> root.call("pool.enable_external_auth", pool, Map.of(), "corp", "AD"))
                .params())
        .containsExactly("AD");
    root.call("host.enable_external_auth", host, Map.of(), "", "PAM");
    login("alice");
    root.call("subject.destroy", alice);
  }

  @Test
  void whomTheHostKnowsIsLookedUp() throws Exception {
    assertThat(root.text("auth.get_subject_identifier", "alice")).isEqualTo("u1001");
    assertThat(root.call("auth.get_subject_information_from_identifier", "g100"))
        .isEqualTo(TestServer.value(Map.of("subject-name", "staff")));
    assertThat(TestServer.texts(root.call("auth.get_group_membership", "u1001")))
        .containsExactly("g100");
    assertCode(
        "SUBJECT_CANNOT_BE_RESOLVED", () -> root.call("auth.get_subject_identifier", "nobody"));
    assertCode("SUBJECT_CANNOT_BE_RESOLVED", () -> root.call("auth.get_group_membership", "u5"));
  }

  @Test
  void aSubjectComesAndGoes() throws Exception {
    assertCode(
        "SUBJECT_CANNOT_BE_RESOLVED",
        () -> root.call("subject.create", Map.of("subject_identifier", "u5")));
    String subject =
        root.text(
            "subject.create",
            Map.of("subject_identifier", "u1001", "other_config", Map.of("subject-name", "boss")));
    assertThat(root.record("subject", subject))
        .containsEntry("subject_identifier", Value.of("u1001"))
        .containsEntry("roles", Value.EMPTY_ARRAY)
        .containsEntry("other_config", TestServer.value(Map.of("subject-name", "alice")));
    assertCode(
        "SUBJECT_ALREADY_EXISTS",
        () -> root.call("subject.create", Map.of("subject_identifier", "u1001")));
    assertThat(assertCode("RBAC_PERMISSION_DENIED", () -> login("alice")).params())
        .first()
        .isEqualTo("session.login_with_password");
    root.call("subject.add_to_roles", subject, role("vm-admin"));
    TestServer.Calls alice = login("alice");
    assertThat(alice.text("session.get_subject", alice.session())).isEqualTo(subject);
    assertThat(alice.text("session.get_auth_user_sid", alice.session())).isEqualTo("u1001");
    assertThat(alice.text("session.get_auth_user_name", alice.session())).isEqualTo("alice");
    assertThat(TestServer.texts(root.call("session.get_all_subject_identifiers")))
        .contains("u1001");
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> alice.call("session.change_password", "alice", "another"));
    root.call("session.logout_subject_identifier", "u1001");
    assertCode("SESSION_INVALID", () -> alice.call("pool.get_all"));
    TestServer.Calls later = login("alice");
    root.call("subject.destroy", subject);
    assertCode("SESSION_INVALID", () -> later.call("pool.get_all"));
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("alice"));
    assertCode("HANDLE_INVALID", () -> root.call("subject.destroy", subject));
  }

  @Test
  void rolesAreGivenAndTaken() throws Exception {
    String staff = subject("staff", "vm-operator");
    String alice = subject("alice");
    assertThat(TestServer.texts(root.call("subject.get_permissions_name_label", alice))).isEmpty();
    assertThat(TestServer.texts(root.call("subject.get_permissions_name_label", staff)))
        .contains("vm.start", "vm.add_to_other_config/key:folder")
        .doesNotContain("vm.destroy", "vm.add_to_other_config");
    assertCode(
        "ROLE_ALREADY_EXISTS", () -> root.call("subject.add_to_roles", staff, role("vm-operator")));
    assertCode("ROLE_NOT_FOUND", () -> root.call("subject.add_to_roles", staff, "OpaqueRef:none"));
    assertCode(
        "ROLE_NOT_FOUND", () -> root.call("subject.remove_from_roles", staff, role("vm-admin")));

    // What a group may do its members may, and keys of maps have roles of their own.
    TestServer.Calls member = login("alice");
    String vm = root.vm("of staff", Map.of());
    member.call("VM.add_to_other_config", vm, "folder", "/a");
    assertThat(
            assertCode(
                    "RBAC_PERMISSION_DENIED",
                    () -> member.call("VM.add_to_other_config", vm, "mine", "1"))
                .params())
        .first()
        .isEqualTo("vm.add_to_other_config");
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> member.call("VM.add_to_other_config", vm, "pci", "0/0"));

    // More than one role; whoever is in has to log in again.
    root.call("subject.add_to_roles", alice, role("vm-admin"));
    assertCode("SESSION_INVALID", () -> member.call("pool.get_all"));
    TestServer.Calls again = login("alice");
    again.call("VM.add_to_other_config", vm, "mine", "1");
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> again.call("VM.add_to_other_config", vm, "pci", "0/0"));
    assertThat(TestServer.texts(again.call("session.get_rbac_permissions", again.session())))
        .contains("vm.add_to_other_config", "vm.add_to_other_config/key:folder")
        .doesNotContain("vm.add_to_other_config/key:pci");
    assertCode(
        "RBAC_PERMISSION_DENIED",
        () -> again.call("subject.add_to_roles", alice, role("pool-admin")));
    root.call("subject.remove_from_roles", alice, role("vm-admin"));
    assertCode("SESSION_INVALID", () -> again.call("pool.get_all"));
    TestServer.Calls last = login("alice");
    assertCode(
        "RBAC_PERMISSION_DENIED", () -> last.call("VM.remove_from_other_config", vm, "mine"));
    root.call("VM.destroy", vm);
  }

  @Test
  void onlyThoseWhoAreLetInMayLogIn() throws Exception {
    subject("alice", "read-only");
    subject("bob", "read-only");
    subject("root", "read-only");
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("alice", "wrong"));
    assertCode("SESSION_AUTHORIZATION_FAILED", () -> login("bob"));
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("carol"));
    // This server's own users are its own: the host's root has no way in by that name.
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("root"));
    login("alice");
  }
}
