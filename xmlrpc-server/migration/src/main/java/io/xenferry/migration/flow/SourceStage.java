package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.State;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** A state of the source. */
abstract class SourceStage extends Stage {
  final SourceMigration migration;

  SourceStage(SourceMigration migration, State state) {
    super(state);
    this.migration = migration;
  }

  @Override
  final SourceMigration migration() {
    return migration;
  }

  final Host host() {
    return migration.host();
  }

  /** The destination asks how it stands here; everything else is not for a source. */
  @Override
  final CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return CompletableFuture.completedFuture(
        message instanceof PeerMessage.SourceStatus
            ? migration.answer()
            : migration.refusal("this host is the source"));
  }

  /** Whether an answer is of the ledger that this migration is with, and no refusal to speak. */
  final boolean counts(PeerAnswer answer) {
    return answer.incarnation().equals(migration.row().peerIncarnation());
  }

  final void fail(String what, Throwable cause) {
    migration.backToOwned(migration.failure(what, cause));
  }

  final MigrationException refusedBy(PeerAnswer answer) {
    return new MigrationException(
        answer.code(), answer.params(), "the destination refused: " + answer.sentence());
  }

  static MigrationException cancelled(SourceMigration migration) {
    return new MigrationException(
        "TASK_CANCELLED", List.of(migration.id().toString()), "cancelled");
  }
}
