package io.xenferry.migration;

import io.xenferry.migration.flow.Host;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.state.MigrationException;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import javax.net.ssl.SSLException;

/** The question to a destination whether it has a place for one more move. */
final class Turn {
  /** Of a destination that bears as many moves as come. */
  private static final String NO_SUCH_MESSAGE = "MESSAGE_METHOD_UNKNOWN";

  private static final String STILL_BOOTING = "HOST_STILL_BOOTING";

  private Turn() {}

  /**
   * @return what is to be waited for; empty when it is the move's turn. Fails with a {@link
   *     MigrationException} where waiting is of no use
   */
  static CompletableFuture<Optional<String>> ask(Host host, Token token, MoveRequest request) {
    return host.peers()
        .send(
            token.address(),
            token.id(),
            request.token(),
            "",
            new PeerMessage.Turn(request.plan().vm(), List.copyOf(Arrivals.srs(request.plan()))),
            host.deadlines().message())
        .handle((answer, failure) ->
            failure == null ? judge(token, request, answer) : away(token, failure));
  }

  private static Optional<String> judge(Token token, MoveRequest request, PeerAnswer answer) {
    if (!answer.incarnation().equals(token.incarnation())) {
      throw Refusals.failed(
          request.plan().vm(),
          "the destination has lost or replaced its ledger since it issued the token");
    }
    if (!answer.refused() || answer.code().equals(NO_SUCH_MESSAGE)) {
      return Optional.empty();
    }
    if (answer.code().equals(Arrivals.TOO_MANY) || answer.code().equals(STILL_BOOTING)) {
      return Optional.of(answer.sentence());
    }
    throw new MigrationException(
        answer.code(), answer.params(), "the destination refuses: " + answer.sentence());
  }

  /** It may be back before it is the move's turn; its certificate will not change by itself. */
  private static Optional<String> away(Token token, Throwable failure) {
    Throwable cause = failure;
    while (cause instanceof CompletionException && cause.getCause() != null) {
      cause = cause.getCause();
    }
    if (cause instanceof IOException && !(cause instanceof SSLException)) {
      return Optional.of("the destination " + token.address().url() + " does not answer");
    }
    throw Preflight.unreachable(token.address(), failure);
  }
}
