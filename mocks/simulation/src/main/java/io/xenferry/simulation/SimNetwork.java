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
  /** Milliseconds that the second copy of a message may need longer. */
  private static final int LATE_COPY = 5_000;

  /** Where the migration's id stands in a path, {@code /v1/incoming/} and {@code /v1/outgoing/}. */
  private static final int ID_AT = 13;

  private static final int ID_LENGTH = 36;

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
    if (due(Fault.MESSAGE_DOUBLED, request)) {
      world.count("messages doubled");
      send(
          target,
          request,
          answer,
          world.random.nextBoolean()
              ? world.latency(3)
              : Duration.ofMillis(world.random.nextInt(LATE_COPY)));
    }
    return answer;
  }

  /** A commit is an effect that COMMITTING authorises. */
  private void checkDurable(PeerRequest request) {
    if (request.path().endsWith("/commit")) {
      State state =
          from.ledgerDisk
              .find(migration(request), Role.SOURCE)
              .map(LedgerRow::state)
              .orElse(State.OWNED);
      world.check(state == State.COMMITTING, Invariant.DURABLE_FIRST, "commit is sent in " + state);
    }
  }

  private void deliver(
      SimHost target, PeerRequest request, CompletableFuture<PeerResponse> answer) {
    if (due(Fault.MESSAGE_LOST, request)) {
      world.count("messages lost");
      world.trace(() -> line(target, request) + " is lost");
      return;
    }
    send(target, request, answer, delay(request));
  }

  private void send(
      SimHost target, PeerRequest request, CompletableFuture<PeerResponse> answer, Duration delay) {
    long number = world.nextMessage();
    world.later(
        delay,
        () -> {
          if (target.overtaken("request " + idText(request), number)) {
            world.met(Fault.MESSAGE_REORDERED, migration(request));
          }
          arrive(target, request, answer);
        });
  }

  private boolean due(Fault fault, PeerRequest request) {
    boolean due = world.due(fault);
    if (due) {
      world.met(fault, migration(request));
    }
    return due;
  }

  private static String idText(PeerRequest request) {
    return request.path().substring(ID_AT, ID_AT + ID_LENGTH);
  }

  private static MigrationId migration(PeerRequest request) {
    return MigrationId.parse(idText(request));
  }

  private String line(SimHost target, PeerRequest request) {
    return from.name + " → " + target.name + ": " + request.path().substring(ID_AT);
  }

  private void arrive(SimHost target, PeerRequest request, CompletableFuture<PeerResponse> answer) {
    if (world.cut()) {
      return;
    }
    Coordinator server = target.answering();
    if (server == null) {
      answer.completeExceptionally(new IOException("connection refused"));
      return;
    }
    if (target.showsAnotherCertificate()) {
      answer.completeExceptionally(new IOException("the certificate is not the pinned one"));
      return;
    }
    if (!request.path().endsWith("heartbeat")) {
      world.trace(() -> line(target, request));
    }
    server
        .endpoint()
        .handle(request)
        .whenComplete((response, failure) -> {
          if (response == null || due(Fault.MESSAGE_LOST, request)) {
            world.count("answers lost");
            world.trace(() -> line(target, request) + ": the answer is lost");
            return;
          }
          long number = world.nextMessage();
          world.later(
              delay(request),
              () -> {
                if (from.overtaken("answer " + idText(request), number)) {
                  world.met(Fault.MESSAGE_REORDERED, migration(request));
                }
                if (!world.cut()) {
                  answer.complete(response);
                }
              });
        });
  }

  private Duration delay(PeerRequest request) {
    if (due(Fault.MESSAGE_DELAYED, request)) {
      world.count("messages late");
      return Duration.ofMillis(500 + world.random.nextInt(15_000));
    }
    return world.latency(3).plus(world.slowMessages);
  }
}
