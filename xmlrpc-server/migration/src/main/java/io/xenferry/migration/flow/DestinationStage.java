package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.state.State;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** A state of the destination. */
abstract class DestinationStage extends Stage {
  final DestinationMigration migration;
  private final List<CompletableFuture<PeerAnswer>> waiters = new ArrayList<>();

  DestinationStage(DestinationMigration migration, State state) {
    super(state);
    this.migration = migration;
  }

  @Override
  final DestinationMigration migration() {
    return migration;
  }

  final Host host() {
    return migration.host();
  }

  final DestinationPorts ports() {
    return migration.host().destination();
  }

  final UUID vm() {
    return migration.plan().vmAtDestination();
  }

  @Override
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return switch (message) {
      case PeerMessage.Heartbeat heartbeat -> now(migration.answer());
      case PeerMessage.Status status -> now(migration.answer());
      case PeerMessage.Commit commit -> now(migration.refusal("cannot commit in " + state()));
      case PeerMessage.Abort abort -> now(migration.refusal("cannot abort in " + state()));
      case PeerMessage.Open open -> now(migration.refusal("this token has been used: " + state()));
      case PeerMessage.Check check ->
          now(migration.refusal("this token has been used: " + state()));
      case PeerMessage.Turn turn -> now(migration.refusal("this token has been used: " + state()));
      case PeerMessage.StartGuest start -> now(notNow());
      case PeerMessage.CloseExports close -> now(notNow());
      case PeerMessage.Room room -> now(notNow());
      case PeerMessage.Reopen reopen -> now(notNow());
      case PeerMessage.Digests digests -> now(notNow());
      case PeerMessage.Prepare prepare -> now(notNow());
      case PeerMessage.Acknowledge acknowledge ->
          now(migration.refusal("there is nothing to acknowledge while " + state()));
      case PeerMessage.SourceStatus status ->
          now(migration.refusal("this host is the destination"));
    };
  }

  /** Says why it has ended here, where it has. */
  private PeerAnswer notNow() {
    return migration.refusal(migration.row().outcome().orElse("not while " + state()));
  }

  static CompletableFuture<PeerAnswer> now(PeerAnswer answer) {
    return CompletableFuture.completedFuture(answer);
  }

  /** The answer is given when the stage knows it, or when it ends. */
  final CompletableFuture<PeerAnswer> later() {
    CompletableFuture<PeerAnswer> waiter = new CompletableFuture<>();
    waiters.add(waiter);
    return waiter;
  }

  final void answerOne(CompletableFuture<PeerAnswer> waiter, PeerAnswer answer) {
    waiters.remove(waiter);
    waiter.complete(answer);
  }

  final void answerAll(PeerAnswer answer) {
    List<CompletableFuture<PeerAnswer>> all = List.copyOf(waiters);
    waiters.clear();
    all.forEach(waiter -> waiter.complete(answer));
  }

  final void handOver(DestinationStage next) {
    next.waiters.addAll(waiters);
    waiters.clear();
  }

  @Override
  void leave() {
    answerAll(migration.answer());
  }

  final boolean thisIncarnation(UUID incarnation) {
    return incarnation.equals(host().ledger().incarnation());
  }

  /** Whether an answer of the source is of the ledger that opened the migration. */
  final boolean counts(PeerAnswer answer) {
    return !answer.refused() && answer.incarnation().equals(migration.row().peerIncarnation());
  }
}
