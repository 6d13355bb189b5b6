package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Requests to a server's REST interface, over plain HTTP on loopback. */
final class Rest {
  private Rest() {}

  /** What root is answered. */
  static JsonNode get(TestServer server, String path) throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpResponse<String> answer =
          client.send(
              request(server, path, "root:" + server.password).GET().build(),
              HttpResponse.BodyHandlers.ofString());
      assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
      return new ObjectMapper().readTree(answer.body());
    }
  }

  /** A body without a known end, read as it arrives, as root. */
  static InputStream follow(HttpClient client, TestServer server, String path) throws Exception {
    HttpResponse<InputStream> answer =
        client.send(
            request(server, path, "root:" + server.password).GET().build(),
            HttpResponse.BodyHandlers.ofInputStream());
    assertThat(answer.statusCode()).isEqualTo(200);
    return answer.body();
  }

  private static HttpRequest.Builder request(TestServer server, String path, String user) {
    String basic = Base64.getEncoder().encodeToString(user.getBytes(StandardCharsets.UTF_8));
    return HttpRequest.newBuilder(
            URI.create("http://" + server.address + ":" + server.httpPort() + path))
        .header("Authorization", "Basic " + basic);
  }

  /** A status, and a body that is JSON or empty. */
  record Answer(int status, JsonNode json) {}

  /** As root. */
  static Answer patch(TestServer server, String path, String body) throws Exception {
    return patch(server, path, body, "root:" + server.password);
  }

  /**
   * @param user and password, with a colon between
   */
  static Answer patch(TestServer server, String path, String body, String user) throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpResponse<String> answer =
          client.send(
              request(server, path, user)
                  .method("PATCH", HttpRequest.BodyPublishers.ofString(body))
                  .build(),
              HttpResponse.BodyHandlers.ofString());
      boolean json =
          answer
              .headers()
              .firstValue("Content-Type")
              .filter(type -> type.startsWith("application/json"))
              .isPresent();
      return new Answer(
          answer.statusCode(),
          json
              ? new ObjectMapper().readTree(answer.body())
              : new ObjectMapper().createObjectNode());
    }
  }

  /**
   * @param user and password, with a colon between
   * @return the status
   */
  static int post(TestServer server, String path, String user) throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      return client
          .send(
              request(server, path, user).POST(HttpRequest.BodyPublishers.noBody()).build(),
              HttpResponse.BodyHandlers.discarding())
          .statusCode();
    }
  }

  /** What root is answered to a JSON document. */
  static JsonNode post(TestServer server, String path, JsonNode body) throws Exception {
    HttpResponse<String> answer = post(server, path, "root:" + server.password, body.toString());
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    return new ObjectMapper().readTree(answer.body());
  }

  /**
   * @param user and password, with a colon between
   * @return the status of the answer to a document
   */
  static int status(TestServer server, String path, String user, String body) throws Exception {
    return post(server, path, user, body).statusCode();
  }

  private static HttpResponse<String> post(TestServer server, String path, String user, String body)
      throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      return client.send(
          request(server, path, user).POST(HttpRequest.BodyPublishers.ofString(body)).build(),
          HttpResponse.BodyHandlers.ofString());
    }
  }
}
