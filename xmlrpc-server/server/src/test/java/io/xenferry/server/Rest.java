package io.xenferry.server;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Requests to a server's REST interface, over plain HTTP on loopback. */
final class Rest {
  private Rest() {}

  /** What root sees. */
  static String get(TestServer server, String path) throws Exception {
    String basic =
        Base64.getEncoder()
            .encodeToString(("root:" + server.password).getBytes(StandardCharsets.UTF_8));
    try (HttpClient client = HttpClient.newHttpClient()) {
      return client
          .send(
              HttpRequest.newBuilder(
                      URI.create("http://" + server.address + ":" + server.httpPort() + path))
                  .header("Authorization", "Basic " + basic)
                  .build(),
              HttpResponse.BodyHandlers.ofString())
          .body();
    }
  }

  /**
   * @param user and password, with a colon between
   * @return the status
   */
  static int post(TestServer server, String path, String user) throws Exception {
    String basic = Base64.getEncoder().encodeToString(user.getBytes(StandardCharsets.UTF_8));
    try (HttpClient client = HttpClient.newHttpClient()) {
      return client
          .send(
              HttpRequest.newBuilder(
                      URI.create("http://" + server.address + ":" + server.httpPort() + path))
                  .header("Authorization", "Basic " + basic)
                  .POST(HttpRequest.BodyPublishers.noBody())
                  .build(),
              HttpResponse.BodyHandlers.discarding())
          .statusCode();
    }
  }
}
