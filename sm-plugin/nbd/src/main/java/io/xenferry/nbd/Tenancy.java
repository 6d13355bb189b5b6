package io.xenferry.nbd;

import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The use of an export by the sessions of one generation. Once it has ended no request begins, and
 * it is known when the last one has left the backend.
 */
final class Tenancy {
  final ExportTable.Entry entry;
  final long generation;
  private final CompletableFuture<Void> before;
  private final CompletableFuture<Void> drained = new CompletableFuture<>();
  private final Set<ServerSession> sessions = ConcurrentHashMap.newKeySet();
  private int users;
  private boolean over;

  /**
   * @param before completes when the generation before this one is drained
   */
  Tenancy(ExportTable.Entry entry, long generation, CompletableFuture<Void> before) {
    this.entry = entry;
    this.generation = generation;
    this.before = before;
  }

  /** To be waited for before the first request. */
  CompletableFuture<Void> vacant() {
    return before;
  }

  /** Counts a session or a request in; false once it is over. */
  synchronized boolean enter() {
    if (over) {
      return false;
    }
    users++;
    return true;
  }

  /** Registers a session that is to be disconnected at the end; false once it is over. */
  boolean join(ServerSession session) {
    sessions.add(session);
    if (enter()) {
      return true;
    }
    sessions.remove(session);
    return false;
  }

  void part(ServerSession session) {
    sessions.remove(session);
    leave();
  }

  void leave() {
    boolean last;
    synchronized (this) {
      users--;
      last = over && users == 0;
    }
    if (last) {
      drained.complete(null);
    }
  }

  int sessions() {
    return sessions.size();
  }

  /** Disconnects everybody; completes when nothing of this and earlier generations is under way. */
  CompletableFuture<Void> end() {
    boolean idle;
    synchronized (this) {
      over = true;
      idle = users == 0;
    }
    sessions.forEach(ServerSession::disconnect);
    if (idle) {
      drained.complete(null);
    }
    return drained.thenCombine(before, (mine, earlier) -> mine);
  }
}
