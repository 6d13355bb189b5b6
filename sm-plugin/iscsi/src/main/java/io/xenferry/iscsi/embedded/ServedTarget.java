package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import org.jspecify.annotations.Nullable;

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

  /** Bytes of a block, by what the backend can take. */
  final int blockSize;

  final RangeOrder order;
  final Reservations reservations = new Reservations(this::tell);
  final ModePages modes;

  ServedTarget(Export export, BlockBackend backend, boolean ownsBackend, Executor loop) {
    this.export = export;
    this.backend = backend;
    this.ownsBackend = ownsBackend;
    this.blockSize = Math.max(512, backend.alignment());
    this.order = new RangeOrder(loop);
    this.modes = new ModePages(blockSize, backend.size() / blockSize);
  }

  private void tell(Nexus whom, Sense attention) {
    connections.stream().filter(c -> c.nexus().equals(whom)).forEach(c -> c.attend(attention));
  }

  void tellOthers(TargetConnection who, Sense attention) {
    connections.stream().filter(c -> c != who).forEach(c -> c.attend(attention));
  }

  /**
   * Ends the commands of some initiators without an answer.
   *
   * @param except one that stays
   * @return completes when the backend has none of them
   */
  CompletableFuture<Void> abort(Collection<Nexus> whose, @Nullable Task except) {
    return CompletableFuture.allOf(
        connections.stream()
            .filter(c -> whose.contains(c.nexus()))
            .map(c -> c.abortAll(except))
            .toArray(CompletableFuture[]::new));
  }

  /**
   * Resets the unit (SAM-5 §6.3.3): commands end without an answer, simple reservations end,
   * everybody is told.
   *
   * @return completes when the backend has nothing of what came before
   */
  CompletableFuture<Void> reset() {
    List<CompletableFuture<Void>> all = new ArrayList<>();
    all.add(quiet());
    for (TargetConnection connection : List.copyOf(connections)) {
      all.add(connection.abortAll(null));
      connection.attend(Sense.LUN_RESET);
    }
    reservations.reset();
    modes.reset();
    return CompletableFuture.allOf(all.toArray(CompletableFuture[]::new));
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
  CompletableFuture<Void> evict(String why) {
    for (TargetConnection connection : Set.copyOf(connections)) {
      connection.drop(why);
    }
    return quiet();
  }
}
