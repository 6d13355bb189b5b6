package io.xenferry.simulation;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerRequest;
import io.xenferry.migration.peer.PeerResponse;
import io.xenferry.migration.peer.PeerTransport;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.time.Scheduler;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/** The network as one host's server sees it: messages get lost, late, doubled, out of order. */
final class SimNetwork implements PeerTransport {
  private final World world;
  private final SimHost from;

  SimNetwork(World world, SimHost from) {
    this.world = world;
    this.from = from;
  }

  @Override
  public CompletableFuture<PeerResponse> exchange(
      PeerAddress to, PeerRequest request, Duration deadline) {
    SimHost target = world.host(to.url());
    checkDurable(request);
    CompletableFuture<PeerResponse> answer = new CompletableFuture<>();
    Scheduler.Cancellable patience =
        world.scheduler.schedule(
            deadline, () -> answer.completeExceptionally(new IOException("no answer in time")));
    answer.whenComplete((response, failure) -> patience.cancel());
    deliver(target, request, answer);
    if (world.chance(world.faults.messageDouble())) {
      world.count("messages doubled");
      deliver(target, request, answer);
    }
    return answer;
  }

  /** A commit is an effect that COMMITTING authorises. */
  private void checkDurable(PeerRequest request) {
    if (request.path().endsWith("/commit")) {
      String[] parts = request.path().split("/");
      State state =
          from.ledgerDisk
              .find(MigrationId.parse(parts[3]), Role.SOURCE)
              .map(LedgerRow::state)
              .orElse(State.OWNED);
      world.check(
          state == State.COMMITTING,
          "a decision is durable before its effect",
          "commit is sent in " + state);
    }
  }

  private void deliver(
      SimHost target, PeerRequest request, CompletableFuture<PeerResponse> answer) {
    if (world.chance(world.faults.messageLoss())) {
      world.count("messages lost");
      return;
    }
    world.later(delay(), () -> arrive(target, request, answer));
  }

  private void arrive(SimHost target, PeerRequest request, CompletableFuture<PeerResponse> answer) {
    if (world.cut()) {
      return;
    }
    Coordinator server = target.coordinator;
    if (!target.serverUp() || server == null) {
      answer.completeExceptionally(new IOException("connection refused"));
      return;
    }
    if (!request.path().endsWith("heartbeat")) {
      world.trace(() -> from.name + " → " + target.name + ": " + request.path().substring(13));
    }
    server
        .endpoint()
        .handle(request)
        .whenComplete((response, failure) -> {
          if (response == null || world.chance(world.faults.messageLoss())) {
            world.count("answers lost");
            return;
          }
          world.later(
              delay(),
              () -> {
                if (!world.cut()) {
                  answer.complete(response);
                }
              });
        });
  }

  private Duration delay() {
    if (world.chance(world.faults.messageLate())) {
      world.count("messages late");
      return Duration.ofMillis(500 + world.random.nextInt(15_000));
    }
    return world.latency(3);
  }
}
