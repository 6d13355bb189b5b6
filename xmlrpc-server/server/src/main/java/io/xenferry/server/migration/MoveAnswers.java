package io.xenferry.server.migration;

import io.xenferry.migration.peer.Token;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.time.Threads;
import java.net.URI;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/**
 * What clients are told of the coordinator's failures: XenAPI's codes with all their parameters.
 */
final class MoveAnswers {
  private final ObjectDatabase database;
  private final Ref<Host> host;
  private final Threads threads;

  MoveAnswers(ObjectDatabase database, Ref<Host> host, Threads threads) {
    this.database = database;
    this.host = host;
    this.threads = threads;
  }

  /**
   * The host that a token is of.
   *
   * @return its uuid; empty for what is no token
   */
  static String destination(String token) {
    try {
      return Token.read(token).host();
    } catch (IllegalArgumentException e) {
      return "";
    }
  }

  /** The destination's name or address that a token has; empty for what is no token. */
  static Optional<String> address(String token) {
    try {
      return Optional.ofNullable(URI.create(Token.read(token).url()).getHost());
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  <T> T await(CompletableFuture<T> future, Ref<VM> vm, String destination)
      throws XenApiException, InterruptedException {
    try {
      return threads.await(future);
    } catch (ExecutionException e) {
      throw translated(e, vm, destination);
    }
  }

  /**
   * The same, for no longer than nobody cancels.
   *
   * @throws XenApiException TASK_CANCELLED
   */
  <T> T await(CompletableFuture<T> future, MoveCancel cancel, Ref<VM> vm, String destination)
      throws XenApiException, InterruptedException {
    cancel.await(future, threads);
    return await(future, vm, destination);
  }

  /**
   * @param destination uuid of the host that the VM was to go to
   */
  XenApiException translated(Throwable failure, Ref<VM> vm, String destination) {
    Throwable cause = failure;
    while ((cause instanceof CompletionException || cause instanceof ExecutionException)
        && cause.getCause() != null) {
      cause = cause.getCause();
    }
    if (!(cause instanceof MigrationException known)) {
      return failed(vm, destination, String.valueOf(cause)).withCause(failure);
    }
    // VM_MIGRATE_FAILED has four parameters; the coordinator knows the first and the last.
    if (known.code().equals("VM_MIGRATE_FAILED") && known.params().size() == 2) {
      return failed(vm, destination, known.params().get(1)).withCause(known);
    }
    return known.toXenApi();
  }

  /**
   * @throws XenApiException the first of the obstacles, if there is one
   */
  void refuse(List<Obstacle> found, Ref<VM> vm, String destination) throws XenApiException {
    Optional<Obstacle> first = Survey.first(found);
    if (first.isPresent()) {
      throw translated(first.get().toException(), vm, destination);
    }
  }

  /**
   * The same with all parameters of its code.
   *
   * @param destination uuid of the host that the VM was to go to
   */
  Obstacle complete(Obstacle obstacle, Ref<VM> vm, String destination) {
    return obstacle.with(translated(obstacle.toException(), vm, destination).params());
  }

  /** VM_MIGRATE_FAILED with the VM, both hosts and a sentence. */
  XenApiException failed(Ref<VM> vm, String destination, String sentence) {
    Snapshot db = database.snapshot();
    String here = "";
    String name = vm.opaque();
    try {
      here = db.get(host, Host.UUID);
      name = db.get(vm, VM.UUID);
    } catch (XenApiException e) {
      return new XenApiException("VM_MIGRATE_FAILED", name, here, destination, sentence)
          .withCause(e);
    }
    return new XenApiException("VM_MIGRATE_FAILED", name, here, destination, sentence);
  }
}
