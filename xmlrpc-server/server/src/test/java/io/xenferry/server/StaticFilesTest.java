package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.server.config.ListenConfig;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files for browsers, beside everything else that begins with a slash. */
class StaticFilesTest {
  @TempDir static Path directory;
  private static TestServer server;
  private static HttpClient client;

  @BeforeAll
  static void start() throws Exception {
    Path files = Files.createDirectories(directory.resolve("www"));
    server =
        TestServer.startAt(
            "127.0.0.1",
            config -> {
              ListenConfig l = config.listen();
              return config.with(
                  new ListenConfig(
                      l.address(), l.port(), l.httpPort(), l.unixSocket(), Optional.of(files)));
            });
    client = HttpClient.newHttpClient();
    Files.writeString(files.resolve("index.html"), "<p>here</p>");
    Files.createDirectories(files.resolve("app/.git"));
    Files.writeString(files.resolve("app/index.html"), "<p>app</p>");
    Files.writeString(files.resolve("app/a b.js"), "x".repeat(200_000));
    Files.writeString(files.resolve("app/.git/config"), "secret");
    Files.writeString(files.resolve("app/LICENSE"), "free");
    Files.writeString(directory.resolve("secret"), "secret");
    Files.createSymbolicLink(files.resolve("out"), directory.resolve("secret"));
    Files.createSymbolicLink(files.resolve("within"), files.resolve("app"));
    Files.createDirectories(files.resolve("empty"));
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    server.close();
  }

  private static HttpResponse<String> get(String target, String... headers) throws Exception {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(
            URI.create("http://" + server.address + ":" + server.httpPort() + target));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return client.send(request.build(), BodyHandlers.ofString());
  }

  private static String header(HttpResponse<String> response, String name) {
    return response.headers().firstValue(name).orElse("");
  }

  @Test
  void filesAreSentWithTheirTypes() throws Exception {
    HttpResponse<String> page = get("/");
    assertThat(page.statusCode()).isEqualTo(200);
    assertThat(page.body()).isEqualTo("<p>here</p>");
    assertThat(header(page, "content-type")).startsWith("text/html");
    HttpResponse<String> script = get("/app/a%20b.js?v=1");
    assertThat(script.body()).hasSize(200_000);
    assertThat(header(script, "content-type")).startsWith("text/javascript");
    assertThat(header(script, "content-length")).isEqualTo("200000");
    HttpResponse<String> part = get("/app/LICENSE", "Range", "bytes=1-2");
    assertThat(part.statusCode()).isEqualTo(206);
    assertThat(part.body()).isEqualTo("re");
    assertThat(get("/within/").body()).isEqualTo("<p>app</p>");
  }

  @Test
  void aDirectoryIsItsPage() throws Exception {
    HttpResponse<String> moved = get("/app");
    assertThat(moved.statusCode()).isEqualTo(302);
    assertThat(header(moved, "location")).isEqualTo("/app/");
    assertThat(get("/app/").body()).isEqualTo("<p>app</p>");
    assertThat(get("/empty/").statusCode()).isEqualTo(403);
  }

  @Test
  void whatHasNotChangedIsNotSentAgain() throws Exception {
    String date = header(get("/app/LICENSE"), "last-modified");
    HttpResponse<String> again = get("/app/LICENSE", "If-Modified-Since", date);
    assertThat(again.statusCode()).isEqualTo(304);
    assertThat(again.body()).isEmpty();
    assertThat(
            get("/app/LICENSE", "If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT").statusCode())
        .isEqualTo(200);
  }

  @Test
  void whatIsNotMeantForBrowsersIsNotThere() throws Exception {
    for (String target :
        new String[] {
          "/out", "/app/.git/config", "/app/.git/", "/.hidden", "/none", "/app/none/"
        }) {
      assertThat(get(target).statusCode()).as(target).isEqualTo(404);
    }
    for (String target : new String[] {"/../secret", "/app/..%2f..%2fsecret", "/%00"}) {
      assertThat(get(target).statusCode()).as(target).isBetween(400, 404);
      assertThat(get(target).body()).as(target).doesNotContain("secret\n").isNotEqualTo("secret");
    }
  }

  @Test
  void whatHasAPathOfItsOwnKeepsIt() throws Exception {
    assertThat(get("/rrd_updates?start=0").statusCode()).isEqualTo(401);
    assertThat(server.calls().only("pool")).startsWith("OpaqueRef:");
  }
}
