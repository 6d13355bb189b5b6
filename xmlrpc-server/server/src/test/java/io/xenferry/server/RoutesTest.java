package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.model.DataModel;
import io.xenferry.model.HttpAction;
import io.xenferry.model.Value;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/** HTTP paths beside the calls: messages that come with an object, and the database as XML. */
class RoutesTest {
  private static TestServer server;
  private static TestServer.Calls root;
  private static HttpClient client;

  /** Of somebody who may read only. */
  private static String reader;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    client = HttpClient.newHttpClient();
    server.server.context().users().put("rita", "read-only", "some-password");
    reader =
        TestServer.text(
            server.api.call(
                "session.login_with_password", Value.of("rita"), Value.of("some-password")));
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    server.close();
  }

  private static HttpRequest.Builder request(String target) {
    return HttpRequest.newBuilder(
        URI.create("http://" + server.address + ":" + server.httpPort() + target));
  }

  private static int put(String target, String body) throws Exception {
    return client
        .send(request(target).PUT(BodyPublishers.ofString(body)).build(), BodyHandlers.discarding())
        .statusCode();
  }

  private static HttpResponse<String> get(String target) throws Exception {
    return client.send(request(target).build(), BodyHandlers.ofString());
  }

  private static String message(String pool, int number, String name) {
    String uuid = "00000000-0000-4000-8000-00000000000" + number;
    return """
    <?xml version="1.0" encoding="UTF-8"?>
    <message><ref>OpaqueRef:%s</ref><name>%s</name><priority>3</priority><cls>Pool</cls>\
    <obj_uuid>%s</obj_uuid><timestamp>20250102T03:04:05Z</timestamp><uuid>%s</uuid>\
    <body>&lt;a&gt; &amp; b</body></message>\
    """
        .formatted(uuid, name, pool, uuid);
  }

  @Test
  void messagesComeWithTheirObject() throws Exception {
    String pool = root.text("pool.get_uuid", root.only("pool"));
    String to = "/messages?session_id=" + root.session() + "&cls=Pool&uuid=" + pool;
    assertThat(put(to, message(pool, 1, "ONE") + message(pool, 2, "TWO"))).isEqualTo(200);
    String first = "OpaqueRef:00000000-0000-4000-8000-000000000001";
    assertThat(root.record("message", first))
        .containsEntry("name", Value.of("ONE"))
        .containsEntry("cls", Value.of("Pool"))
        .containsEntry("obj_uuid", Value.of(pool))
        .containsEntry("body", Value.of("<a> & b"))
        .containsEntry("timestamp", Value.of(java.time.Instant.parse("2025-01-02T03:04:05Z")));
    assertThat(put(to, message(pool, 1, "AGAIN"))).isEqualTo(200);
    assertThat(root.record("message", first)).containsEntry("name", Value.of("ONE"));
    assertThat(put(to, "")).isEqualTo(200);
    int before = root.all("message").size();
    for (String wrong :
        List.of(
            "<message>",
            "<other/>",
            "x".repeat(10) + "<message/>",
            message(pool, 3, "X").replace("Pool<", "Host<"),
            message(pool, 3, "X").replace(pool + "<", "other<"),
            message(pool, 3, "X").replace("<uuid>", "<uuid>../"),
            message(pool, 3, "X").replace("<priority>3", "<priority>high"),
            message(pool, 3, "X").replace("20250102", "soon"),
            message(pool, 3, "X").replace("<name>X</name>", ""),
            "<!DOCTYPE a [<!ENTITY b 'c'>]>" + message(pool, 3, "&b;"))) {
      assertThat(put(to, wrong)).as(wrong).isEqualTo(400);
    }
    assertThat(put(to, " ".repeat((8 << 20) + 1))).isEqualTo(413);
    assertThat(put("/messages?session_id=" + root.session() + "&cls=Pool", "")).isEqualTo(400);
    for (String nobody : List.of("cls=Pool&uuid=x", "cls=King&uuid=" + pool)) {
      assertThat(put("/messages?session_id=" + root.session() + "&" + nobody, "")).isEqualTo(404);
    }
    assertThat(put("/messages?cls=Pool&uuid=" + pool, "")).isEqualTo(401);
    assertThat(root.all("message")).hasSize(before);
  }

  /** What the data model has, and who may ask; whatever is behind it here. */
  @ParameterizedTest
  @MethodSource
  void whoMayNotAskIsToldSo(HttpAction action) throws Exception {
    String method = action.method();
    String path = action.uri().replaceAll("/$", "");
    assertThat(status(method, path, "")).isEqualTo(401);
    assertThat(status(method, path, "?session_id=OpaqueRef:x")).isEqualTo(401);
    if (!action.roles().contains("read-only")) {
      assertThat(status(method, path, "?session_id=" + reader)).isEqualTo(403);
    }
    String task = root.text("task.create", "refused", "");
    int answered = status(method, path, "?session_id=" + root.session() + "&task_id=" + task);
    assertThat(answered).isNotIn(401, 403);
    if (answered >= 500) {
      assertThat(answered).isIn(500, 501);
      await().until(() -> root.text("task.get_status", task).equals("failure"));
      assertThat(TestServer.texts(root.call("task.get_error_info", task)).getFirst())
          .isIn("NOT_IMPLEMENTED", "WLB_NOT_INITIALIZED", "LICENCE_RESTRICTION");
    }
  }

  static Stream<HttpAction> whoMayNotAskIsToldSo() {
    // Others have rules of their own: the calls, the connections, files, and storage's messages.
    return DataModel.httpActions().stream()
        .filter(HttpAction::rolesChecked)
        .filter(action -> !action.method().equals("CONNECT"))
        .filter(action -> !action.name().equals("post_services_sm"));
  }

  private static int status(String method, String path, String query) throws Exception {
    return client
        .send(
            request(path + query).method(method, BodyPublishers.noBody()).build(),
            BodyHandlers.discarding())
        .statusCode();
  }

  @Test
  void servicesTellOfThemselves() throws Exception {
    String session = "?session_id=" + root.session();
    JsonNode all = new ObjectMapper().readTree(get("/services" + session).body());
    assertThat(all.path("driver").asText()).isEqualTo("mux");
    assertThat(get("/services/driver" + session).body()).isEqualTo("[]");
    HttpResponse<String> answer = get("/services/SM" + session);
    assertThat(answer.headers().firstValue("content-type")).hasValue("application/json");
    JsonNode drivers = new ObjectMapper().readTree(answer.body());
    assertThat(drivers.findValuesAsText("driver"))
        .containsExactlyInAnyOrderElementsOf(TestServer.texts(root.call("SR.get_supported_types")));
    JsonNode file = new ObjectMapper().readTree(get("/services/SM/file" + session).body());
    assertThat(drivers).contains(file);
    assertThat(file.path("features").toString()).contains("VDI_CREATE");
    for (String none : List.of("/services/SM/none", "/services/other", "/services/SM/file/x")) {
      assertThat(get(none + session).statusCode()).as(none).isEqualTo(404);
      assertThat(get(none).statusCode()).as(none).isEqualTo(401);
    }
    assertThat(status("POST", "/services", session)).isEqualTo(404);
    assertThat(status("POST", "/services/plugin/x", session)).isEqualTo(404);
    assertThat(status("PUT", "/services/SM/nbd/x", session)).isEqualTo(501);
    assertThat(status("POST", "/services/SM", "?session_id=OpaqueRef:x")).isEqualTo(401);
    assertThat(status("POST", "/services/SM", "?session_id=" + reader)).isEqualTo(403);
    assertThat(status("BREW", "/services", session)).isEqualTo(501);
    assertThat(status("PUT", "/none", session)).isEqualTo(403);
  }

  @Test
  void theDatabaseIsTold() throws Exception {
    assertThat(get("/pool/xmldbdump").statusCode()).isEqualTo(401);
    String vm = root.vm("quote\" <&>\n\u0001ä", Map.of("a", "it's"));
    String task = root.text("task.create", "dump", "");
    HttpResponse<String> answer =
        get("/pool/xmldbdump?session_id=" + root.session() + "&task_id=" + task);
    assertThat(answer.statusCode()).isEqualTo(200);
    assertThat(answer.body()).startsWith("<?xml").doesNotContain(root.session(), "server_notes");
    Document document =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(new java.io.ByteArrayInputStream(answer.body().getBytes("UTF-8")));
    assertThat(document.getDocumentElement().getTagName()).isEqualTo("database");
    NodeList rows = document.getElementsByTagName("row");
    Element found = null;
    for (int i = 0; i < rows.getLength(); i++) {
      Element row = (Element) rows.item(i);
      found = row.getAttribute("ref").equals(vm) ? row : found;
    }
    assertThat(found).isNotNull();
    assertThat(((Element) found.getParentNode()).getAttribute("name")).isEqualTo("VM");
    assertThat(found.getAttribute("name__label")).isEqualTo("quote\"%.<&>%nä");
    assertThat(found.getAttribute("uuid")).isEqualTo(root.text("VM.get_uuid", vm));
    assertThat(found.getAttribute("power_state")).isEqualTo("Halted");
    assertThat(found.getAttribute("platform")).isEqualTo("(('a'%.'it\\'s'))");
    await().until(() -> root.text("task.get_status", task).equals("success"));
    server.server.context().users().put("olga", "pool-operator", "some-password");
    String olga =
        TestServer.text(
            server.api.call(
                "session.login_with_password", Value.of("olga"), Value.of("some-password")));
    assertThat(get("/pool/xmldbdump?session_id=" + olga).statusCode()).isEqualTo(403);
    assertThat(put("/pool/xmldbdump?session_id=" + root.session(), "<database/>")).isEqualTo(501);
  }
}
