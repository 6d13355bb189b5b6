package io.xenferry.packaging;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.function.Consumer;
import java.util.stream.Stream;

/** The REST interface of one site, with its certificate pinned. */
final class Rest implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Site site;
  private final HttpClient client;

  Rest(Site site) {
    this.site = site;
    this.client =
        HttpClient.newBuilder()
            .sslContext(Trust.pinned(new Fingerprint(site.fingerprint())).context())
            .connectTimeout(Duration.ofSeconds(10))
            .version(HttpClient.Version.HTTP_1_1)
            .build();
  }

  private HttpRequest.Builder request(String path) throws IOException {
    String user = "root:" + site.rootPassword();
    return HttpRequest.newBuilder(URI.create("https://" + site.hostAndPort() + path))
        .header(
            "Authorization",
            "Basic " + Base64.getEncoder().encodeToString(user.getBytes(StandardCharsets.UTF_8)));
  }

  JsonNode get(String path) throws IOException, InterruptedException {
    HttpResponse<String> response =
        client.send(
            request(path).timeout(Duration.ofSeconds(30)).build(),
            HttpResponse.BodyHandlers.ofString());
    if (response.statusCode() != 200) {
      throw new IOException("GET " + path + ": " + response.statusCode() + " " + response.body());
    }
    return JSON.readTree(response.body());
  }

  /** Follows a stream of server-sent events on a thread of its own, until this is closed. */
  void follow(String path, Consumer<JsonNode> listener) throws IOException {
    HttpRequest request = request(path).header("Accept", "text/event-stream").build();
    Thread.ofVirtual()
        .name("events of " + site.name())
        .start(() -> {
          try {
            HttpResponse<Stream<String>> response =
                client.send(request, HttpResponse.BodyHandlers.ofLines());
            try (Stream<String> lines = response.body()) {
              for (String line : (Iterable<String>) lines::iterator) {
                if (line.startsWith("data:")) {
                  listener.accept(JSON.readTree(line.substring(5)));
                }
              }
            }
          } catch (IOException | java.io.UncheckedIOException e) {
            // The stream ends with the server or with this client.
            return;
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
  }

  @Override
  public void close() {
    client.shutdownNow();
  }
}
