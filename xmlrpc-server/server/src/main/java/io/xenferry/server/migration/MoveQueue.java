package io.xenferry.server.migration;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;
import io.xenferry.time.Threads;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * Where moves wait for their turn: in their order, but for those that wait for something that who
 * comes after them does not need.
 *
 * <pre>
 *   WAITING → ASKING the destination → BEGINNING → UNDER_WAY, in the ledger → gone
 *      ↑_________________| it has no place
 * </pre>
 *
 * <p>Who waits has nothing at the destination. The queue is the server's, not its clients': it
 * outlives their sessions and ends with the server. Moves that a server before this one has begun
 * were never in it, and take places all the same. Thread-safe; each move waits on a thread of its
 * own.
 */
final class MoveQueue {
  /** What a move that waits shows in place of a state. */
  static final String QUEUED = "QUEUED";

  /** Limits may be changed, by rows of the database that nobody listens to here. */
  private static final Duration LOOK = Duration.ofSeconds(1);

  /** A destination without a place is asked again. */
  private static final Duration ASK_AGAIN = Duration.ofSeconds(3);

  /** Beyond that nobody waits for his turn any more. */
  private static final int MOST = 1000;

  /**
   * What a move takes.
   *
   * @param vm its uuid
   * @param srs that its disks are on, by their references
   * @param destination the host that it goes to
   */
  record Needs(MigrationId migration, UUID vm, Set<String> srs, String destination) {}

  /** Asks a destination: what is to be waited for there, or nothing. Heeds the move's cancel. */
  @FunctionalInterface
  interface Turn {
    Optional<String> ask() throws XenApiException, InterruptedException;
  }

  /**
   * A move that is not in the ledger yet, for display.
   *
   * @param position from 1; 0 for one that waits no longer, and is just beginning
   * @param waitsFor in words; empty for one that is just beginning
   */
  record Waiting(MigrationId migration, UUID vm, int position, String waitsFor, Instant since) {
    String phase() {
      return waitsFor.isEmpty() ? "beginning" : "queued: " + waitsFor;
    }
  }

  /** A move's place, until it is closed. */
  interface Place extends AutoCloseable {
    /**
     * The move is in the ledger: the queue shows it no longer, nor cancels it.
     *
     * @param cancel how it is cancelled from now on; used for who has asked the queue just before
     */
    void begun(Supplier<CompletableFuture<Void>> cancel);

    /**
     * Nobody will know any more whether the move has begun: who has cancelled it is told nothing.
     */
    void leftToTheNextServer();

    @Override
    void close();
  }

  private enum State {
    WAITING,
    ASKING,
    BEGINNING,
    UNDER_WAY
  }

  private static final class Entry {
    final Needs needs;
    final MoveCancel cancel;
    final Instant since;

    /** Completes for who cancels while it is beginning, when it is certain that the VM stays. */
    final CompletableFuture<Void> stays = new CompletableFuture<>();

    State state = State.WAITING;
    String waitsFor = "its turn";

    /** Before that a destination that had no place is not asked again. */
    long notBefore;

    /** What is to be waited for before it looks again: a change of the queue. */
    CompletableFuture<Void> next = new CompletableFuture<>();

    Entry(Needs needs, MoveCancel cancel, Instant since, long now) {
      this.needs = needs;
      this.cancel = cancel;
      this.since = since;
      this.notBefore = now;
    }
  }

  private final Function<Set<String>, Places> limits;
  private final Supplier<Map<MigrationId, Set<String>>> leaving;
  private final List<Runnable> listeners = new CopyOnWriteArrayList<>();
  private final Threads threads;
  private final Supplier<Instant> clock;
  private final ReentrantLock lock = new ReentrantLock();

  /** Completes with the next change. */
  private CompletableFuture<Void> changed = new CompletableFuture<>();

  /** In the order in which they came. */
  private final Map<MigrationId, Entry> entries = new LinkedHashMap<>();

  /**
   * @param limits how many moves may leave this host at once, and these SRs; from memory
   * @param leaving the moves from here that the ledger has under way, whoever began them, with the
   *     SRs that their disks are on; from memory
   * @param threads by which moves wait
   */
  MoveQueue(
      Function<Set<String>, Places> limits,
      Supplier<Map<MigrationId, Set<String>>> leaving,
      Threads threads,
      Supplier<Instant> clock) {
    this.limits = limits;
    this.leaving = leaving;
    this.threads = threads;
    this.clock = clock;
  }

  /** Told when {@link #waiting} has changed, on the thread that changes it; must not block. */
  AutoCloseable listen(Runnable listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  private void tellListeners() {
    listeners.forEach(Runnable::run);
  }

  /**
   * Waits for the move's turn.
   *
   * @param task that tells what it waits for
   * @param cancel ends the waiting
   * @throws XenApiException TASK_CANCELLED; TOO_MANY_STORAGE_MIGRATES [limit] when too many wait;
   *     what the turn fails with
   */
  Place await(Needs needs, Task task, MoveCancel cancel, Turn turn)
      throws XenApiException, InterruptedException {
    Entry entry = new Entry(needs, cancel, clock.get(), threads.nanoTime());
    enter(entry);
    cancel.then(() -> change(() -> {}));
    boolean mine = false;
    try {
      String told = "";
      Optional<String> obstacle;
      do {
        while (!mayAsk(entry)) {
          told = tell(task, told, waitsFor(entry));
          look(entry.next);
        }
        obstacle = turn.ask();
        if (obstacle.isPresent()) {
          stepBack(entry, obstacle.get());
        }
      } while (obstacle.isPresent());
      begin(entry);
      mine = true;
      tell(task, told, "");
      return placeOf(entry);
    } finally {
      if (!mine) {
        leave(entry);
      }
    }
  }

  /** Each change is a commit and an event. */
  private String tell(Task task, String told, String now) {
    if (!now.equals(told)) {
      task.tell(Map.of(MoveTasks.TOLD + "waiting", now));
      tellListeners();
    }
    return now;
  }

  private Place placeOf(Entry entry) {
    return new Place() {
      @Override
      public void begun(Supplier<CompletableFuture<Void>> cancel) {
        change(() -> entry.state = State.UNDER_WAY);
        if (entry.cancel.asked()) {
          cancel
              .get()
              .whenComplete((done, failure) -> {
                if (failure == null) {
                  entry.stays.complete(null);
                } else {
                  entry.stays.completeExceptionally(failure);
                }
              });
        }
      }

      @Override
      public void leftToTheNextServer() {
        change(() -> entry.state = State.UNDER_WAY);
      }

      @Override
      public void close() {
        leave(entry);
      }
    };
  }

  private void enter(Entry entry) throws XenApiException {
    lock.lock();
    try {
      if (entries.size() >= MOST || entries.containsKey(entry.needs.migration())) {
        throw new XenApiException("TOO_MANY_STORAGE_MIGRATES", Integer.toString(MOST));
      }
      entries.put(entry.needs.migration(), entry);
    } finally {
      lock.unlock();
    }
  }

  /** If so, nobody else takes its place before it has asked. */
  private boolean mayAsk(Entry entry) throws XenApiException {
    lock.lock();
    try {
      entry.cancel.throwIfAsked();
      Optional<String> obstacle = obstacle(entry);
      if (obstacle.isPresent()) {
        entry.waitsFor = obstacle.get();
        entry.next = changed;
        return false;
      }
      entry.state = State.ASKING;
      return true;
    } finally {
      lock.unlock();
    }
  }

  private String waitsFor(Entry entry) {
    lock.lock();
    try {
      return entry.waitsFor;
    } finally {
      lock.unlock();
    }
  }

  private void look(CompletableFuture<Void> change) throws InterruptedException {
    try {
      threads.await(change, LOOK);
    } catch (TimeoutException e) {
      // Limits may have changed.
    } catch (ExecutionException e) {
      throw new IllegalStateException("a change does not fail", e);
    }
  }

  private void stepBack(Entry entry, String waitsFor) {
    change(() -> {
      entry.state = State.WAITING;
      entry.waitsFor = waitsFor;
      entry.notBefore = threads.nanoTime() + ASK_AGAIN.toNanos();
    });
  }

  /** Whoever has been told that it is cancelled was told the truth. */
  private void begin(Entry entry) throws XenApiException {
    lock.lock();
    try {
      entry.cancel.throwIfAsked();
      entry.state = State.BEGINNING;
      entry.waitsFor = "";
    } finally {
      lock.unlock();
    }
    change(() -> {});
  }

  private void leave(Entry entry) {
    change(() -> {
      entries.remove(entry.needs.migration(), entry);
      if (entry.state != State.UNDER_WAY) {
        entry.stays.complete(null);
      }
    });
  }

  private void change(Runnable how) {
    CompletableFuture<Void> now;
    lock.lock();
    try {
      how.run();
      now = changed;
      changed = new CompletableFuture<>();
    } finally {
      lock.unlock();
    }
    now.complete(null);
    tellListeners();
  }

  /**
   * Cancels a move that is not in the ledger yet.
   *
   * @return completes when it is certain that the VM stays, or fails as the cancel of a move that
   *     has begun meanwhile; empty where there is no such move, or no longer
   */
  Optional<CompletableFuture<Void>> cancel(MigrationId migration) {
    lock.lock();
    try {
      Entry entry = entries.get(migration);
      if (entry == null || entry.state == State.UNDER_WAY) {
        return Optional.empty();
      }
      entry.cancel.ask();
      return Optional.of(
          entry.state == State.BEGINNING
              ? entry.stays.copy()
              : CompletableFuture.completedFuture(null));
    } finally {
      lock.unlock();
    }
  }

  /** OPERATION_NOT_ALLOWED, for what can be done only with a move that is in the ledger. */
  static XenApiException notBegun(MigrationId migration) {
    return new XenApiException(
        "OPERATION_NOT_ALLOWED",
        "migration "
            + migration
            + " has not begun: until it has, it can be cancelled, and nothing else");
  }

  /** Those that are not in the ledger yet, the next one first. */
  List<Waiting> waiting() {
    lock.lock();
    try {
      List<Waiting> all = new ArrayList<>();
      int waiting = 0;
      for (Entry entry : entries.values()) {
        if (entry.state != State.UNDER_WAY) {
          boolean begins = entry.state == State.BEGINNING;
          waiting += begins ? 0 : 1;
          all.add(
              new Waiting(
                  entry.needs.migration(),
                  entry.needs.vm(),
                  begins ? 0 : waiting,
                  entry.waitsFor,
                  entry.since));
        }
      }
      return all;
    } finally {
      lock.unlock();
    }
  }

  /** One of them. */
  Optional<Waiting> waiting(MigrationId migration) {
    return waiting().stream().filter(w -> w.migration().equals(migration)).findFirst();
  }

  /** What is in the way of an entry that waits. With the lock held. */
  private Optional<String> obstacle(Entry mine) {
    Taken taken = new Taken(limits.apply(allSrs()), threads.nanoTime());
    leaving
        .get()
        .forEach((migration, srs) -> {
          // Of one that is here its entry counts, which was there before its row.
          if (!entries.containsKey(migration)) {
            taken.add(srs);
          }
        });
    for (Entry entry : entries.values()) {
      if (entry.state != State.WAITING) {
        taken.add(entry.needs.srs());
      }
      if (entry.state == State.ASKING) {
        taken.destinations.add(entry.needs.destination());
      }
    }
    for (Entry entry : entries.values()) {
      if (entry.state == State.WAITING) {
        Optional<String> obstacle = taken.obstacle(entry);
        if (entry == mine) {
          return obstacle;
        }
        taken.keepFor(entry, obstacle.isEmpty());
      }
    }
    return Optional.of("its turn");
  }

  private Set<String> allSrs() {
    return entries.values().stream()
        .flatMap(entry -> entry.needs.srs().stream())
        .collect(Collectors.toSet());
  }

  /** What is taken by those that are under way, and by those that come before. */
  private static final class Taken {
    private final Places places;
    private final long now;
    private final Map<String, Integer> atSr = new HashMap<>();
    private final Set<String> destinations = new HashSet<>();
    private int moves;

    /**
     * @param now see {@link Threads#nanoTime}
     */
    Taken(Places places, long now) {
      this.places = places;
      this.now = now;
    }

    void add(Set<String> srs) {
      moves++;
      srs.forEach(sr -> atSr.merge(sr, 1, Integer::sum));
    }

    Optional<String> obstacle(Entry entry) {
      if (!places.hostHas(moves)) {
        return Optional.of("one of the " + places.host() + " places for moves from this host");
      }
      for (String sr : entry.needs.srs()) {
        if (!places.srHas(sr, atSr.getOrDefault(sr, 0))) {
          return Optional.of(
              "one of the " + places.srs().get(sr) + " places for moves from the SR " + sr);
        }
      }
      if (entry.notBefore - now > 0) {
        return Optional.of(entry.waitsFor);
      }
      return destinations.contains(entry.needs.destination())
          ? Optional.of("its turn at the destination")
          : Optional.empty();
    }

    /**
     * Who comes later must not take what an earlier one needs: all of it if that is next; else its
     * SRs and its turn at the destination, but not the host's place, which it cannot use yet.
     */
    void keepFor(Entry entry, boolean next) {
      if (next) {
        moves++;
      }
      entry.needs.srs().forEach(sr -> atSr.merge(sr, 1, Integer::sum));
      destinations.add(entry.needs.destination());
    }
  }
}
