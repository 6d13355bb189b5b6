package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import java.net.InetAddress;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/**
 * An export while it is served: its backend, the connections logged in to it, and the tasks that
 * the backend is working on, also those of connections that are gone. Confined to the loop but for
 * what says otherwise.
 */
final class ServedTarget {
  final Export export;
  final BlockBackend backend;
  final boolean ownsBackend;

  /** Closed in the journal, and on its way out; guarded by the service's lock. */
  boolean closing;

  final Set<TargetConnection> connections = new LinkedHashSet<>();
  final Set<Task> executing = new LinkedHashSet<>();

  ServedTarget(Export export, BlockBackend backend, boolean ownsBackend) {
    this.export = export;
    this.backend = backend;
    this.ownsBackend = ownsBackend;
  }

  boolean admits(String initiator, InetAddress from) {
    return switch (export.acl()) {
      case Acl.ByAddress by -> Network.contains(by.network(), from);
      case Acl.ByName by -> by.initiator().equals(initiator);
      case Acl.Everybody all -> true;
    };
  }

  /** Completes when the backend has ended everything that it works on now. */
  CompletableFuture<Void> quiet() {
    return CompletableFuture.allOf(
        executing.stream().map(t -> t.quiet).toArray(CompletableFuture[]::new));
  }

  /** Drops all sessions; completes when nothing of theirs is under way. */
  CompletableFuture<Void> evict() {
    for (TargetConnection connection : Set.copyOf(connections)) {
      connection.drop("the target is being closed");
    }
    return quiet();
  }
}
