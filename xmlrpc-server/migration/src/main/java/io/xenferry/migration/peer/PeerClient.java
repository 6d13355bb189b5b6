package io.xenferry.migration.peer;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.state.MigrationId;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** The asking side: signs and writes messages, reads answers. Thread-safe. */
public final class PeerClient {
  private final PeerTransport transport;

  public PeerClient(PeerTransport transport) {
    this.transport = transport;
  }

  /**
   * Sends one message. The future fails when nothing usable came back, which says nothing about
   * what the peer did; a refusal is an answer.
   *
   * @param token empty when asking a source
   * @param key of the migration; unused for a message that goes by the token alone
   */
  public CompletableFuture<PeerAnswer> send(
      PeerAddress to,
      MigrationId migration,
      String token,
      String key,
      PeerMessage message,
      Duration deadline) {
    byte[] body = StrictJson.write(message);
    boolean open = message instanceof PeerMessage.Open;
    boolean source = message instanceof PeerMessage.SourceStatus;
    String path =
        (source ? "/v1/outgoing/" : "/v1/incoming/")
            + migration
            + (open ? "" : "/" + message.verb());
    String method = open ? "PUT" : "POST";
    Map<String, String> headers = new HashMap<>();
    headers.put("content-type", "application/json");
    if (!token.isEmpty()) {
      headers.put(PeerRequest.TOKEN, token);
    }
    if (!message.byToken()) {
      headers.put(PeerRequest.MAC, Keys.sign(key, method, path, body));
    }
    return transport
        .exchange(to, new PeerRequest(method, path, headers, body), deadline)
        .thenApply(response -> PeerAnswer.read(response.body()));
  }

  /** The headers that authenticate a request for the memory stream. */
  public static PeerRequest memoryRequest(MigrationId migration, String key) {
    String path = "/v1/incoming/" + migration + "/memory";
    byte[] body = new byte[0];
    return new PeerRequest(
        "PUT", path, Map.of(PeerRequest.MAC, Keys.sign(key, "PUT", path, body)), body);
  }
}
