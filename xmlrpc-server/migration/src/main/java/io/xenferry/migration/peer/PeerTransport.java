package io.xenferry.migration.peer;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/**
 * Carries requests to other servers. A failure says nothing about whether the request arrived.
 * Thread-safe; futures complete on any thread.
 */
public interface PeerTransport {
  CompletableFuture<PeerResponse> exchange(PeerAddress to, PeerRequest request, Duration deadline);
}
