package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** One state of a migration: what happens while it lasts. */
abstract class Stage {
  private final State state;

  Stage(State state) {
    this.state = state;
  }

  final State state() {
    return state;
  }

  abstract Migration migration();

  final boolean active() {
    return migration().stage() == this;
  }

  /**
   * Begins; the ledger says so already.
   *
   * @param recovered whether a server before this one brought the migration here
   */
  abstract void enter(boolean recovered);

  /** Ends; the ledger has moved on already. */
  void leave() {}

  /** An authenticated message from the other side; the default is to refuse with the state. */
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return CompletableFuture.completedFuture(migration().refusal("not while " + state));
  }

  /** A client wants the migration to end, the VM staying where it was. */
  void cancel() {
    throw new MigrationException(
        "OPERATION_NOT_ALLOWED",
        List.of("The migration is " + state + ": it can no longer be cancelled."),
        "cancel in " + state);
  }

  /** An operator wants the move carried on otherwise. */
  void steer(Steering.Change change) {
    throw new MigrationException(
        "OPERATION_NOT_ALLOWED",
        List.of(
            state.role() == Role.DESTINATION
                ? "The migration is " + state + ": only at its source can it be changed."
                : "The migration is " + state + ": it can no longer be changed."),
        "steer in " + state);
  }

  /** An operator states that the other host is powered off. */
  void force(String operator) {
    throw new MigrationException(
        "OPERATION_NOT_ALLOWED",
        List.of("The migration is " + state + ": there is nothing to force."),
        "force in " + state);
  }
}
