package io.xenferry.migration.flow;

import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import io.xenferry.time.Scheduler;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Supplier;

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

  /** An operator gives the row up: what must be so before it ends. */
  CompletableFuture<Void> giveUp() {
    return CompletableFuture.completedFuture(null);
  }

  /** An operator states that the other host is powered off. */
  void force(String operator) {
    throw new MigrationException(
        "OPERATION_NOT_ALLOWED",
        List.of("The migration is " + state + ": there is nothing to force."),
        "force in " + state);
  }

  /** An effect, with the usual deadline; see {@link Effects#step}. */
  final <T> void step(
      String what,
      Supplier<? extends CompletableFuture<T>> effect,
      Consumer<T> then,
      Consumer<Throwable> failed) {
    step(what, usual(), effect, then, failed);
  }

  final <T> void step(
      String what,
      Duration limit,
      Supplier<? extends CompletableFuture<T>> effect,
      Consumer<T> then,
      Consumer<Throwable> failed) {
    step(what, limit, effect, then, failed, late -> {});
  }

  final <T> void step(
      String what,
      Duration limit,
      Supplier<? extends CompletableFuture<T>> effect,
      Consumer<T> then,
      Consumer<Throwable> failed,
      Consumer<T> late) {
    migration().effects().step(this, what, limit, effect, then, failed, late);
  }

  /** A question, with the usual deadline; see {@link Effects#hear}. */
  final <T> void hear(
      String what,
      Supplier<? extends CompletableFuture<T>> question,
      Consumer<T> then,
      Consumer<Throwable> failed) {
    hear(what, usual(), question, then, failed);
  }

  final <T> void hear(
      String what,
      Duration limit,
      Supplier<? extends CompletableFuture<T>> question,
      Consumer<T> then,
      Consumer<Throwable> failed) {
    migration().effects().hear(this, what, limit, question, then, failed);
  }

  private Duration usual() {
    return migration().host().deadlines().step();
  }

  /** See {@link Effects#sequence}. */
  final void sequence(List<Effect> effects, Runnable then, Consumer<Throwable> failed) {
    migration().effects().sequence(this, effects, then, failed);
  }

  /** See {@link Effects#persist}. */
  final void persist(Supplier<List<Effect>> effects, Runnable then) {
    migration().effects().persist(this, effects, then);
  }

  /** See {@link Effects#whenQuiet}. */
  final void whenQuiet(Runnable work) {
    migration().effects().whenQuiet(this, work);
  }

  /** See {@link Effects#after}. */
  final Scheduler.Cancellable after(Duration delay, Runnable work) {
    return migration().effects().after(this, delay, work);
  }

  /** Runs after a pause that grows with the attempts before it, from 0. */
  final void retry(int attempt, Runnable work) {
    after(migration().effects().backOff(attempt), work);
  }

  /** See {@link Migration#guarded}. */
  final void guarded(Runnable work) {
    migration().guarded(this, work);
  }
}
