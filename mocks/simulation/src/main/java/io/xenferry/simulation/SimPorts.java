package io.xenferry.simulation;

import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;
import java.util.function.Supplier;

/** Effects on a simulated host: they take time, fail, and outlive the server that asked. */
abstract class SimPorts {
  final World world;
  final SimHost host;
  final SimulatedScheduler.Process process;

  SimPorts(World world, SimHost host, SimulatedScheduler.Process process) {
    this.world = world;
    this.host = host;
    this.process = process;
  }

  /** What an effect rests on is durable before it is asked for. */
  final void decided(UUID vm, State... states) {
    decided(row -> row.vm().equals(vm), states);
  }

  /** What an effect rests on is durable before it is asked for. */
  final void decided(MigrationId migration, State... states) {
    decided(row -> row.migration().equals(migration), states);
  }

  private void decided(Predicate<LedgerRow> which, State... states) {
    List<State> enough = List.of(states);
    world.check(
        !world.inspecting
            || !process.alive()
            || host.ledgerDisk.unended().stream()
                .anyMatch(row -> which.test(row) && enough.contains(row.state())),
        Invariant.DURABLE_FIRST,
        host.name + " goes by " + enough);
  }

  /** What an effect makes is in the journal before it is asked for. */
  final void journaled(JournalEntry.Kind kind, String object) {
    world.check(
        !world.inspecting || !process.alive() || standing(kind, object).isPresent(),
        Invariant.DURABLE_FIRST,
        host.name + " makes " + kind + " " + object);
  }

  final Optional<JournalEntry.Standing> standing(JournalEntry.Kind kind, String object) {
    return host.ledgerDisk.journal().stream()
        .filter(entry -> entry.kind() == kind && entry.name().equals(object))
        .map(JournalEntry::standing)
        .findFirst();
  }

  /** Whether there is no room, which is then met. */
  final boolean fullMet() {
    boolean full = host.isFull();
    if (full) {
      world.met(Fault.SR_FULL, host);
    }
    return full;
  }

  final <T> CompletableFuture<T> effect(String what, Supplier<T> work) {
    return effect(what, CompletableFuture.completedFuture(null), work);
  }

  /** One that waits for something, whoever dies meanwhile. */
  final <T> CompletableFuture<T> effect(
      String what, CompletableFuture<Void> first, Supplier<T> work) {
    if (!process.alive()) {
      throw new SimulatedCrash(host.name);
    }
    CompletableFuture<T> done = new CompletableFuture<>();
    int boot = host.boot;
    first.thenRun(() -> begin(what, boot, work, done));
    return done;
  }

  private <T> void begin(String what, int boot, Supplier<T> work, CompletableFuture<T> done) {
    world.later(
        world.effectTime(),
        () -> {
          if (host.boot != boot) {
            return;
          }
          if (world.due(Fault.EFFECT_REFUSED)) {
            world.met(Fault.EFFECT_REFUSED, host);
            world.count("effects refused");
            world.trace(() -> host.name + ": refused: " + what);
            done.completeExceptionally(new RefusedException("refused: " + what));
            return;
          }
          T value;
          try {
            value = work.get();
          } catch (RefusedException | MigrationException | IllegalStateException e) {
            world.trace(host.name + ": " + e.getMessage());
            done.completeExceptionally(e);
            return;
          }
          world.trace(() -> host.name + ": " + what);
          if (world.due(Fault.EFFECT_UNANSWERED)) {
            world.met(Fault.EFFECT_UNANSWERED, host);
            world.count("effects with no answer");
            done.completeExceptionally(new IllegalStateException("no answer: " + what));
          } else {
            world.later(world.latency(2), () -> done.complete(value));
          }
        });
  }

  final CompletableFuture<Void> act(String what, Runnable work) {
    return effect(
            what,
            () -> {
              work.run();
              return true;
            })
        .thenAccept(done -> {});
  }

  static void require(boolean holds, String what) {
    if (!holds) {
      throw new RefusedException("refused: " + what);
    }
  }
}
