package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The same calls as JSON-RPC. */
class JsonRpcTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static TestServer server;
  private static HttpClient http;
  private static String session;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    session = server.login();
  }

  @AfterAll
  static void stop() throws Exception {
    http.close();
    server.close();
  }

  private static HttpResponse<String> post(String body) throws Exception {
    return http.send(
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.httpPort() + "/jsonrpc"))
            .header("Content-Type", "application/json; charset=utf-8")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build(),
        HttpResponse.BodyHandlers.ofString());
  }

  private static JsonNode call(String method, Object... params) throws Exception {
    ObjectNode call = JSON.createObjectNode().put("jsonrpc", "2.0").put("id", "x");
    ArrayNode all = call.put("method", method).putArray("params");
    for (Object param : params) {
      all.addPOJO(param);
    }
    HttpResponse<String> response = post(JSON.writeValueAsString(call));
    assertThat(response.statusCode()).isEqualTo(200);
    assertThat(response.headers().firstValue("content-type")).contains("application/json");
    assertThat(response.headers().firstValue("access-control-allow-origin")).contains("*");
    JsonNode answer = JSON.readTree(response.body());
    assertThat(answer.path("jsonrpc").asText()).isEqualTo("2.0");
    assertThat(answer.path("id").asText()).isEqualTo("x");
    return answer;
  }

  @Test
  void sharesSessionsWithXmlRpc() throws Exception {
    String own =
        call("session.login_with_password", "root", server.password, "2.21", "a test")
            .path("result")
            .asText();
    assertThat(new TestServer.Calls(server.api, own).only("host")).isNotEmpty();
    assertThat(call("session.logout", own).path("result").asText("none")).isEmpty();
    assertThat(call("session.logout", own).path("error").path("message").asText())
        .isEqualTo("SESSION_INVALID");
  }

  @Test
  void recordsHaveNumbersAndBooleans() throws Exception {
    JsonNode hosts = call("host.get_all_records", session).path("result");
    assertThat(hosts.properties()).hasSize(1);
    JsonNode host = hosts.properties().iterator().next().getValue();
    assertThat(host.path("API_version_major").isIntegralNumber()).isTrue();
    assertThat(host.path("enabled").isBoolean()).isTrue();
    assertThat(host.path("software_version").isObject()).isTrue();
    JsonNode from = call("event.from", session, new String[] {"pool"}, "", 0.5).path("result");
    assertThat(from.path("events").isArray()).isTrue();
    assertThat(from.path("valid_ref_counts").path("pool").asInt()).isEqualTo(1);
  }

  @Test
  void takesNumbersForIntegersAndFloats() throws Exception {
    String vm = call("VM.get_all", session).path("result").path(0).asText();
    String task = call("task.create", session, "a task", "").path("result").asText();
    for (Object progress : new Object[] {0.25, 1}) {
      call("task.set_progress", session, task, progress);
      assertThat(call("task.get_progress", session, task).path("result").asDouble())
          .isEqualTo(((Number) progress).doubleValue());
    }
    JsonNode error = call("VM.set_user_version", session, vm, "many").path("error");
    assertThat(error.path("code").asInt()).isEqualTo(1);
    assertThat(error.path("message").asText()).isEqualTo("INVALID_VALUE");
    assertThat(error.path("data").isArray()).isTrue();
    assertThat(call("VM.set_name_label", session, vm, (Object) null).path("error").has("data"))
        .isTrue();
  }

  @Test
  void theFirstVersionHasItsOwnEnvelope() throws Exception {
    assertThat(post("{\"id\":5,\"method\":\"VM.none\",\"params\":[]}").body())
        .isEqualTo("{\"result\":null,\"error\":[\"MESSAGE_METHOD_UNKNOWN\",\"VM.none\"],\"id\":5}");
    JsonNode methods =
        JSON.readTree(post("{\"id\":5,\"method\":\"system.listMethods\",\"params\":[]}").body());
    assertThat(methods.path("result").size()).isGreaterThan(1000);
    assertThat(methods.has("error")).isTrue();
    assertThat(methods.path("error").isNull()).isTrue();
  }

  @Test
  void whatIsNoCallIsAnErrorOfHttp() throws Exception {
    for (String bad : new String[] {"", "junk", "[]", "{}", "{\"id\":null}"}) {
      assertThat(post(bad).statusCode()).as(bad).isEqualTo(500);
    }
    assertThat(post("\"" + "x".repeat(400_000) + "\"").statusCode()).isEqualTo(413);
    assertThat(call("session.logout", "x").has("error")).isTrue();
  }

  @Test
  void aBrowserMayAskBeforehand() throws Exception {
    HttpResponse<String> options =
        http.send(
            HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.httpPort() + "/jsonrpc"))
                .method("OPTIONS", HttpRequest.BodyPublishers.noBody())
                .header("Access-Control-Request-Headers", "content-type")
                .build(),
            HttpResponse.BodyHandlers.ofString());
    assertThat(options.statusCode()).isEqualTo(200);
    assertThat(options.headers().firstValue("access-control-allow-headers"))
        .contains("content-type, X-Requested-With");
  }
}
