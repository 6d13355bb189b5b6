package io.xenferry.simulation;

import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.time.SimulatedScheduler;
import java.util.concurrent.CompletableFuture;
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

  final <T> CompletableFuture<T> effect(String what, Supplier<T> work) {
    if (!process.alive()) {
      throw new SimulatedCrash(host.name);
    }
    CompletableFuture<T> done = new CompletableFuture<>();
    int boot = host.boot;
    world.later(
        world.latency(world.chance(world.faults.messageLate()) ? 2_000 : 8),
        () -> {
          if (host.boot != boot) {
            return;
          }
          if (world.chance(world.faults.effectRefused())) {
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
          if (world.chance(world.faults.effectUnknown())) {
            world.count("effects with no answer");
            done.completeExceptionally(new IllegalStateException("no answer: " + what));
          } else {
            done.complete(value);
          }
        });
    return done;
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
