package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.server.session.Users;
import io.xenferry.xe.client.Xe;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Who did what: the audit log, over HTTP and by xe. */
class AuditTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static HttpClient client;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    client = HttpClient.newHttpClient();
    server.server.context().users().put("ann", "read-only", "some-password");
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    server.close();
  }

  private static HttpResponse<String> get(String query) throws Exception {
    return client.send(
        HttpRequest.newBuilder(
                URI.create("http://" + server.address + ":" + server.httpPort() + query))
            .build(),
        BodyHandlers.ofString());
  }

  private static List<String> log(String more) throws Exception {
    HttpResponse<String> answer = get("/audit_log?session_id=" + root.session() + more);
    assertThat(answer.statusCode()).isEqualTo(200);
    return answer.body().lines().toList();
  }

  /** What is noted once the answer is on its way may come a little after it. */
  private static String line(String word) {
    return Awaitility.await()
        .until(
            () ->
                log("").stream()
                    .filter(line -> line.contains(word))
                    .reduce((first, second) -> second),
            Optional::isPresent)
        .orElseThrow();
  }

  private static TestServer.Calls login(String user, String password) throws Exception {
    return new TestServer.Calls(
        server.api,
        TestServer.text(
            server.api.call("session.login_with_password", Value.of(user), Value.of(password))));
  }

  @Test
  void aCallIsNotedWithItsOutcome() throws Exception {
    String vm = root.vm("it's \"mine\"\n[x] 'ALLOWED'", Map.of());
    String uuid = root.text("VM.get_uuid", vm);
    root.call("VM.set_name_description", vm, "words");
    assertThat(line("'VM.set_name_description'"))
        .matches(
            "\\[[0-9]{8}T[0-9:]{8}\\.[0-9]{3}Z\\|audit\\|xenferry\\|[0-9]+ [^|]*\\|"
                + "VM.set_name_description\\|audit\\] \\(.*\\)")
        .contains(
            "('trackid=",
            " 'LOCAL_SUPERUSER' 'root' 'ALLOWED' 'OK' 'API' 'VM.set_name_description' (('self' ",
            "'it\\'s \\\"mine\\\" [x] \\'ALLOWED\\'' '" + uuid + "' '" + vm + "')")
        .doesNotContain("words");
    assertThat(line("'VM.create'")).contains("('name_label' 'it\\'s \\\"mine\\\" ");

    String task = root.text("Async.VM.destroy", vm);
    Awaitility.await().until(() -> !root.all("VM").contains(vm));
    Awaitility.await()
        .untilAsserted(() ->
            assertThat(line("'VM.destroy'")).as("what it was").contains("mine", uuid, "'OK'"));
    root.call("task.destroy", task);
    assertCode("HANDLE_INVALID", () -> root.call("VM.start", vm, false, false));
    assertThat(line("'VM.start'")).contains("'ALLOWED' 'ERROR:HANDLE_INVALID' 'API'");
    assertThat(log("")).noneMatch(line -> line.contains("VM.get_uuid"));
  }

  @Test
  void whatIsRefusedIsNoted() throws Exception {
    TestServer.Calls ann = login("ann", "some-password");
    String pool = ann.only("pool");
    assertCode("RBAC_PERMISSION_DENIED", () -> ann.call("pool.set_name_label", pool, "hers"));
    assertThat(line("'pool.set_name_label'")).contains(" 'ann' 'ann' 'DENIED' '' 'API' ");
    assertThat(
            client
                .send(
                    HttpRequest.newBuilder(
                            URI.create(
                                "http://%s:%d/blob?session_id=%s&ref=OpaqueRef:x"
                                    .formatted(server.address, server.httpPort(), ann.session())))
                        .PUT(HttpRequest.BodyPublishers.ofString("x"))
                        .build(),
                    BodyHandlers.discarding())
                .statusCode())
        .isEqualTo(403);
    assertThat(line("'http/put_blob'"))
        .contains(" 'ann' 'DENIED' '' 'HTTP' 'http/put_blob' (('ref' 'OpaqueRef:x' '' ''))");
  }

  private static int post(String target, String body) throws Exception {
    return client
        .send(
            HttpRequest.newBuilder(
                    URI.create(
                        "http://%s:%d%s?session_id=%s"
                            .formatted(server.address, server.httpPort(), target, root.session())))
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build(),
            BodyHandlers.discarding())
        .statusCode();
  }

  @Test
  void whatIsDoneBesideTheCallsIsNoted() throws Exception {
    assertThat(post("/v1/migrations/none/cancel", "")).isEqualTo(404);
    assertThat(line("'http/post_migrations'"))
        .contains("'root' 'ALLOWED' 'ERROR:404' 'HTTP'", "('name' '/none/cancel' '' '')");
    assertThat(
            post(
                "/services/SM",
                "<methodCall><methodName>VDI.destroy</methodName><params><param><value><struct>"
                    + "<member><name>sr</name><value>none</value></member>"
                    + "<member><name>vdi</name><value>none</value></member>"
                    + "</struct></value></param></params></methodCall>"))
        .isEqualTo(200);
    assertThat(line("'http/post_services_sm'"))
        .contains("'root' 'ALLOWED' 'ERROR:SMAPI' 'HTTP'", "('name' 'VDI.destroy' '' '')");
    try (Socket socket = new Socket(server.address, server.httpPort())) {
      String head = "CONNECT /console?uuid=nobodys&session_id=%s HTTP/1.0\r\n\r\n";
      socket.getOutputStream().write(head.formatted(root.session()).getBytes(UTF_8));
      assertThat(socket.getInputStream().readAllBytes()).asString(UTF_8).contains(" 404 ");
    }
    assertThat(line("'http/connect_console'"))
        .contains("'root' 'ALLOWED'", "('uuid' 'nobodys' '' '')");
  }

  @Test
  void loginsAndTheirEndsAreNoted() throws Exception {
    TestServer.Calls ann = login("ann", "some-password");
    String opened = line("'session.create'");
    assertThat(opened).contains("'ann' 'ann' 'ALLOWED' 'OK'", "('uname' 'ann' '' '')");
    ann.call("session.logout");
    String track = opened.substring(opened.indexOf("trackid="), opened.indexOf("trackid=") + 40);
    assertThat(line("'session.destroy'")).contains(track);
    assertCode("SESSION_AUTHENTICATION_FAILED", () -> login("ann", "wrong"));
    assertThat(line("'DENIED' 'ERROR:SESSION_AUTHENTICATION_FAILED'"))
        .contains("'' '' 'ann'", "'session.create'");
  }

  @Test
  void secretsAreNotInIt() throws Exception {
    String secret =
        root.text("secret.create", Map.of("value", "hush-hush", "other_config", Map.of()));
    server.server.context().users().put("eve", Users.SUPERUSER, "first-password");
    TestServer.Calls eve = login("eve", "first-password");
    eve.call("session.change_password", "first-password", "second-password");
    eve.call("session.add_to_other_config", eve.session(), "a", "b");
    // A session where an object is wanted.
    assertCode("HANDLE_INVALID", () -> root.call("VM.start", eve.session(), false, false));
    assertCode("HANDLE_INVALID", () -> root.call("VM.destroy", "OpaqueRef:of-another-server"));
    get("/blob?session_id=" + root.session() + "&ref=" + eve.session());
    root.call("secret.destroy", secret);
    String all = String.join("\n", log(""));
    assertThat(all)
        .contains("'secret.create'", "'session.change_password'", "'VM.start'", "'http/get_blob'")
        .doesNotContain(
            "hush-hush",
            "first-password",
            "second-password",
            "some-password",
            server.password,
            eve.session(),
            root.session(),
            "of-another-server");
  }

  @Test
  void itIsReadOverHttpByThoseWhoMay() throws Exception {
    assertThat(get("/audit_log").statusCode()).isEqualTo(401);
    TestServer.Calls ann = login("ann", "some-password");
    assertThat(get("/audit_log?session_id=" + ann.session()).statusCode()).isEqualTo(200);
    for (String wrong : List.of("yesterday", "2026", "20260101T1", "%27")) {
      assertThat(get("/audit_log?session_id=" + ann.session() + "&since=" + wrong).statusCode())
          .as(wrong)
          .isEqualTo(400);
    }
    root.call("pool.add_tags", root.only("pool"), "before");
    Instant now = Instant.now().plusMillis(1);
    Awaitility.await().until(() -> Instant.now().isAfter(now));
    root.call("pool.remove_tags", root.only("pool"), "before");
    assertThat(log("")).anyMatch(l -> l.contains("pool.add_tags"));
    for (String since :
        List.of(
            now.truncatedTo(ChronoUnit.MILLIS).toString(),
            now.truncatedTo(ChronoUnit.MILLIS).toString().replace("-", "").replace("T", "%20"))) {
      assertThat(log("&since=" + since))
          .noneMatch(l -> l.contains("'pool.add_tags'"))
          .anyMatch(l -> l.contains("'pool.remove_tags'"));
    }
    assertThat(log("&since=2999-01-01")).isEmpty();
    assertThat(log("&since=2020-01-01")).anyMatch(l -> l.contains("'pool.add_tags'"));
  }

  @Test
  void xeFetchesIt() throws Exception {
    root.call("pool.add_tags", root.only("pool"), "xe");
    Path file = server.directory.resolve("audit-copy");
    Path later = server.directory.resolve("audit-later");
    assertThat(xe("audit-log-get", "filename=" + file)).isZero();
    assertThat(file).content().contains("'pool.add_tags'");
    assertThat(xe("audit-log-get", "filename=" + later, "since=2999-01-01T00:00:00Z")).isZero();
    assertThat(Files.readString(later)).isEmpty();
    assertThat(xe("audit-log-get", "filename=" + later + "2", "since=nonsense")).isEqualTo(1);
    Awaitility.await("the end of what was made for the transfers")
        .until(() -> root.all("task").isEmpty());
  }

  private static int xe(String... words) throws Exception {
    List<String> args = new java.util.ArrayList<>(List.of(words));
    args.addAll(List.of("-s", "localhost", "--nossl", "-p", "" + server.httpPort()));
    args.addAll(List.of("-u", "root", "-pw", server.password));
    return new Xe(
            Map.of(),
            InputStream.nullInputStream(),
            new ByteArrayOutputStream(),
            new ByteArrayOutputStream())
        .run(args);
  }
}
