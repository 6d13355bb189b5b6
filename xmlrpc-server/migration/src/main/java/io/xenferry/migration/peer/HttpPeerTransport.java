package io.xenferry.migration.peer;

import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * The peers' protocol over HTTP/1.1, with TLS and the pinned certificate wherever the address has a
 * fingerprint. Follows no redirect, asks no proxy, reads at most {@value #MAX_ANSWER} bytes of an
 * answer, and gives up at the deadline. Connections are kept between messages, so that the commit
 * costs one round trip and no handshake. Thread-safe.
 */
public final class HttpPeerTransport implements PeerTransport, AutoCloseable {
  /** The largest lists the URLs of 255 disks. */
  static final int MAX_ANSWER = 1 << 20;

  private static final Duration CONNECT = Duration.ofSeconds(5);

  /** Of whoever sends a token may have made up the fingerprint. */
  static final int MAX_CLIENTS = 64;

  /** Between the choice of a client and its use. */
  private static final Duration MAX_DELAY = Duration.ofSeconds(30);

  /** By fingerprint, the one that was used longest ago first; guarded by itself. */
  private final SequencedMap<String, HttpClient> clients = new LinkedHashMap<>(16, 0.75f, true);

  @Override
  public CompletableFuture<PeerResponse> exchange(
      PeerAddress to, PeerRequest request, Duration deadline) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(to.url() + request.path()))
            .timeout(deadline)
            .method(request.method(), HttpRequest.BodyPublishers.ofByteArray(request.body()));
    request.headers().forEach(builder::header);
    return client(to.fingerprint())
        .sendAsync(
            builder.build(),
            HttpResponse.BodyHandlers.limiting(HttpResponse.BodyHandlers.ofByteArray(), MAX_ANSWER))
        .thenApply(response -> new PeerResponse(response.statusCode(), response.body()))
        // The client's own timeout ends with the headers; a body that drips must end too.
        .orTimeout(deadline.toMillis(), TimeUnit.MILLISECONDS);
  }

  HttpClient client(String fingerprint) {
    synchronized (clients) {
      HttpClient client = clients.computeIfAbsent(fingerprint, HttpPeerTransport::make);
      if (clients.size() > MAX_CLIENTS) {
        HttpClient old = clients.pollFirstEntry().getValue();
        // Not at once: somebody may be about to use it. What it has under way comes to its end.
        CompletableFuture.delayedExecutor(MAX_DELAY.toMillis(), TimeUnit.MILLISECONDS)
            .execute(old::shutdown);
      }
      return client;
    }
  }

  /** How many certificates are known to whom messages have gone. */
  int clients() {
    synchronized (clients) {
      return clients.size();
    }
  }

  private static HttpClient make(String fingerprint) {
    HttpClient.Builder builder =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .proxy(HttpClient.Builder.NO_PROXY)
            .connectTimeout(CONNECT);
    if (!fingerprint.isEmpty()) {
      builder.sslContext(Trust.pinned(new Fingerprint(fingerprint)).context());
    }
    return builder.build();
  }

  @Override
  public void close() {
    synchronized (clients) {
      clients.values().forEach(HttpClient::shutdownNow);
      clients.clear();
    }
  }
}
