package io.xenferry.migration;

import io.xenferry.migration.flow.Host;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Function;
import javax.net.ssl.SSLException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What stands against a move before anything is begun: first by this host's ledger and the token,
 * then by the destination's word. A destination that does not answer is asked a second time before
 * that is an obstacle.
 */
final class Preflight {
  private static final Logger LOG = LoggerFactory.getLogger(Preflight.class);
  private static final int HTTPS = 443;

  /** More than an answer takes; tokens are good for hours. */
  private static final Duration SKEW = Duration.ofSeconds(30);

  private final Host host;
  private final MoveRequest request;
  private final Survey survey = new Survey(Role.SOURCE);

  private Preflight(Host host, MoveRequest request) {
    this.host = host;
    this.request = request;
  }

  /**
   * On the scheduler.
   *
   * @return the obstacles in the order in which the move would meet them
   */
  static CompletableFuture<List<Obstacle>> survey(Host host, boolean takenUp, MoveRequest request) {
    return new Preflight(host, request).begin(takenUp);
  }

  private CompletableFuture<List<Obstacle>> begin(boolean takenUp) {
    UUID vm = request.plan().vm();
    if (!takenUp) {
      survey.passes(Refusals::refuseNotTakenUp, ObstacleKind.SOURCE_NOT_READY);
    }
    Optional<Token> token = survey.attempt(() -> Refusals.token(request), ObstacleKind.NOT_A_TOKEN);
    boolean useful =
        token.isPresent()
            && survey.passes(() -> Refusals.requireVersion(token.get(), vm), ObstacleKind.VERSION)
            && survey.passes(
                () -> Refusals.requireUnexpired(token.get(), vm, host.scheduler().now()),
                ObstacleKind.TOKEN_EXPIRED);
    survey.passes(() -> Refusals.requireFree(host.ledger(), vm), ObstacleKind.VM_BUSY);
    return useful ? ask(token.orElseThrow()) : CompletableFuture.completedFuture(survey.found());
  }

  private CompletableFuture<List<Obstacle>> ask(Token token) {
    return send(token)
        .handleAsync(
            (answer, failure) ->
                failure == null
                    ? CompletableFuture.completedFuture(judge(token, answer))
                    : askAgain(token, failure),
            host.scheduler())
        .thenCompose(Function.identity());
  }

  private CompletableFuture<List<Obstacle>> askAgain(Token token, Throwable failure) {
    LOG.info(
        "the destination {} does not answer, and is asked once more whether VM {} may come",
        token.url(),
        request.plan().vm(),
        failure);
    CompletableFuture<Void> pause = new CompletableFuture<>();
    host.scheduler().schedule(host.deadlines().retryFirst(), () -> pause.complete(null));
    return pause
        .thenCompose(over -> send(token))
        .handleAsync(
            (answer, again) -> again == null ? judge(token, answer) : unreachable(token, again),
            host.scheduler());
  }

  private CompletableFuture<PeerAnswer> send(Token token) {
    return host.peers()
        .send(
            token.address(),
            token.id(),
            request.token(),
            "",
            new PeerMessage.Check(PeerAnswer.VERSIONS, request.plan(), request.metadata()),
            host.deadlines().message());
  }

  private List<Obstacle> judge(Token token, PeerAnswer answer) {
    if (!answer.incarnation().equals(token.incarnation())) {
      survey.add(
          Obstacle.of(
              Role.SOURCE,
              Refusals.failed(
                  request.plan().vm(),
                  "the destination has lost or replaced its ledger since it issued the token"),
              ObstacleKind.DESTINATION_LOST_ITS_LEDGER));
      return survey.found();
    }
    compareClocks(answer.findings().clock());
    List<Obstacle> found = answer.findings().found();
    found.forEach(survey::add);
    if (found.isEmpty() && answer.refused()) {
      survey.add(
          Obstacle.unnamed(
              Role.DESTINATION,
              answer.code(),
              answer.params(),
              "the destination refuses: " + answer.sentence()));
    }
    return survey.found();
  }

  /** An answer takes some seconds at most. */
  private void compareClocks(long there) {
    long seconds =
        Duration.ofMillis(Math.abs(there - host.scheduler().now().toEpochMilli())).toSeconds();
    if (there > 0 && seconds > SKEW.toSeconds()) {
      survey.warn(ObstacleKind.CLOCKS_DIFFER, Long.toString(seconds));
    }
  }

  private List<Obstacle> unreachable(Token token, Throwable failure) {
    LOG.info(
        "the destination {} does not answer a second time either; VM {} stays",
        token.url(),
        request.plan().vm(),
        failure);
    survey.add(
        Obstacle.of(
            Role.SOURCE,
            unreachable(token.address(), failure),
            ObstacleKind.DESTINATION_UNREACHABLE,
            ObstacleKind.DESTINATION_CERTIFICATE,
            ObstacleKind.DESTINATION_BABBLES));
    return survey.found();
  }

  static MigrationException unreachable(PeerAddress peer, Throwable failure) {
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
