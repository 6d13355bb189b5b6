package io.xenferry.server.migration;

import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerRequest;
import io.xenferry.migration.peer.PeerResponse;
import io.xenferry.migration.peer.PeerTransport;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Carries the peers' messages over HTTPS, to servers whose certificate is pinned. Connections are
 * kept between messages, so that the commit costs one round trip and no handshake.
 */
final class HttpPeers implements PeerTransport, AutoCloseable {
  /** Bytes of an answer; the largest lists the URLs of 255 disks. */
  private static final int ANSWER_LIMIT = 1 << 20;

  private static final Duration CONNECT = Duration.ofSeconds(10);

  private final Map<String, HttpClient> clients = new ConcurrentHashMap<>();

  @Override
  public CompletableFuture<PeerResponse> exchange(
      PeerAddress to, PeerRequest request, Duration deadline) {
    HttpRequest.Builder message =
        HttpRequest.newBuilder(URI.create(to.url() + request.path()))
            .timeout(deadline)
            .method(request.method(), HttpRequest.BodyPublishers.ofByteArray(request.body()));
    request.headers().forEach(message::header);
    CompletableFuture<PeerResponse> answer =
        client(to)
            .sendAsync(message.build(), HttpResponse.BodyHandlers.ofInputStream())
            .thenApply(response -> new PeerResponse(response.statusCode(), body(response)));
    return answer.orTimeout(deadline.toMillis(), java.util.concurrent.TimeUnit.MILLISECONDS);
  }

  private static byte[] body(HttpResponse<InputStream> response) {
    try (InputStream in = response.body()) {
      byte[] body = in.readNBytes(ANSWER_LIMIT + 1);
      if (body.length > ANSWER_LIMIT) {
        throw new IOException("the peer's answer is larger than " + ANSWER_LIMIT + " bytes");
      }
      return body;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private HttpClient client(PeerAddress to) {
    return clients.computeIfAbsent(
        to.fingerprint(),
        fingerprint -> {
          HttpClient.Builder builder =
              HttpClient.newBuilder()
                  .version(HttpClient.Version.HTTP_1_1)
                  .connectTimeout(CONNECT)
                  .followRedirects(HttpClient.Redirect.NEVER);
          if (!fingerprint.isEmpty()) {
            builder.sslContext(Trust.pinned(new Fingerprint(fingerprint)).context());
          }
          return builder.build();
        });
  }

  @Override
  public void close() {
    clients.values().forEach(HttpClient::shutdownNow);
  }
}
