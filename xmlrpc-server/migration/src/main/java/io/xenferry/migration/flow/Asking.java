package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.MigrationStatus;
import java.time.Instant;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * One question to the peer, repeated with back-off until an answer is enough or the stage has
 * ended. No answer, a refusal and a late answer are all just heard; only the predicate decides.
 */
final class Asking {
  /** What a server answers that has not read its own ledger yet: the same as no answer. */
  static final String STILL_BOOTING = "HOST_STILL_BOOTING";

  private final Migration migration;
  private final Stage owner;
  private final String what;
  private final PeerMessage message;
  private final Predicate<PeerAnswer> enough;
  private final Instant since;
  private Optional<String> lastAnswer = Optional.empty();
  private int attempts;

  private Asking(
      Migration migration,
      Stage owner,
      String what,
      PeerMessage message,
      Predicate<PeerAnswer> enough) {
    this.migration = migration;
    this.owner = owner;
    this.what = what;
    this.message = message;
    this.enough = enough;
    this.since = migration.host().scheduler().now();
  }

  static void ask(
      Migration migration,
      Stage owner,
      String what,
      PeerMessage message,
      Predicate<PeerAnswer> enough) {
    new Asking(migration, owner, what, message, enough).attempt();
  }

  private void attempt() {
    Host host = migration.host();
    attempts++;
    migration.waiting(
        new MigrationStatus.Waiting(
            migration.row().peerUrl(), what, since, host.scheduler().now(), attempts, lastAnswer));
    owner.hear(
        what,
        host.deadlines().message(),
        () ->
            host.peers()
                .send(
                    migration.peer(),
                    migration.id(),
                    migration.row().token(),
                    migration.row().key(),
                    message,
                    host.deadlines().message()),
        answer -> {
          migration.answeredBy(answer);
          lastAnswer =
              Optional.of(
                  (answer.state().isEmpty() ? "unknown there" : answer.state())
                      + (answer.sentence().isEmpty() ? "" : ": " + answer.sentence()));
          if (answer.code().equals(STILL_BOOTING) || !enough.test(answer)) {
            again();
          } else if (owner.active()) {
            migration.answered();
          }
        },
        failure -> {
          lastAnswer =
              Optional.of(MigrationStatus.Waiting.NO_ANSWER + ": " + Effects.words(failure));
          again();
        });
  }

  private void again() {
    owner.retry(attempts - 1, this::attempt);
  }
}
