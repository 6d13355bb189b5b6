package io.xenferry.migration;

import io.xenferry.migration.flow.Host;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.state.MigrationException;
import java.net.URI;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import javax.net.ssl.SSLException;

/** The question to a destination before anything is begun, and what comes of it. */
final class Preflight {
  private static final int HTTPS = 443;

  private Preflight() {}

  static CompletableFuture<Void> ask(Host host, Token token, MoveRequest request) {
    PeerAddress peer = token.address();
    return host.peers()
        .send(
            peer,
            token.id(),
            request.token(),
            "",
            new PeerMessage.Check(List.of(PeerAnswer.VERSION), request.plan(), request.metadata()),
            host.deadlines().message())
        .handle((answer, failure) -> {
          if (failure != null) {
            throw unreachable(peer, failure);
          }
          judge(token, request.plan().vm(), answer);
          return null;
        });
  }

  private static void judge(Token token, UUID vm, PeerAnswer answer) {
    if (!answer.incarnation().equals(token.incarnation())) {
      throw Refusals.failed(
          vm, "the destination has lost or replaced its ledger since it issued the token");
    }
    if (answer.refused()) {
      throw new MigrationException(
          answer.code(), answer.params(), "the destination refuses: " + answer.sentence());
    }
  }

  private static MigrationException unreachable(PeerAddress peer, Throwable failure) {
    Throwable cause = failure;
    while (cause instanceof CompletionException && cause.getCause() != null) {
      cause = cause.getCause();
    }
    URI uri = URI.create(peer.url());
    String sentence = "the destination " + peer.url() + " cannot be asked: " + cause;
    if (cause instanceof SSLException) {
      int port = uri.getPort() < 0 ? HTTPS : uri.getPort();
      return new MigrationException(
          "TLS_CONNECTION_FAILED", List.of(uri.getHost(), Integer.toString(port)), sentence, cause);
    }
    if (cause instanceof IllegalArgumentException) {
      return new MigrationException(
          "VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED",
          List.of(),
          "the destination " + peer.url() + " answers what no destination would",
          cause);
    }
    return new MigrationException("CANNOT_CONTACT_HOST", List.of(uri.getHost()), sentence, cause);
  }
}
