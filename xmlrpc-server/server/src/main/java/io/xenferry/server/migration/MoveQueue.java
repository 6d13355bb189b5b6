package io.xenferry.server.migration;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;
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
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * Where moves wait for their turn: in their order, but for those that wait for something that who
 * comes after them does not need.
 *
 * <pre>
 *   WAITING → ASKING the destination → UNDER_WAY → gone
 *      ↑_________________| it has no place
 * </pre>
 *
 * <p>Who waits has nothing at the destination. The queue is the server's, not its clients': it
 * outlives their sessions and ends with the server. Thread-safe; each move waits on a thread of its
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

  /** Asks a destination: what is to be waited for there, or nothing. */
  @FunctionalInterface
  interface Turn {
    Optional<String> ask() throws XenApiException, InterruptedException;
  }

  /** A move that waits, for display. */
  record Waiting(MigrationId migration, UUID vm, int position, String waitsFor, Instant since) {
    String phase() {
      return "queued: " + waitsFor;
    }
  }

  /** A move's place, until it is closed. */
  interface Place extends AutoCloseable {
    @Override
    void close();
  }

  private enum State {
    WAITING,
    ASKING,
    UNDER_WAY
  }

  private static final class Entry {
    final Needs needs;
    final Instant since = Instant.now();
    State state = State.WAITING;
    String waitsFor = "its turn";
    boolean cancelled;

    /** Before that a destination that had no place is not asked again. */
    long notBefore = System.nanoTime();

    Entry(Needs needs) {
      this.needs = needs;
    }
  }

  private final Function<Set<String>, Places> limits;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private long changes;

  /** In the order in which they came. */
  private final Map<MigrationId, Entry> entries = new LinkedHashMap<>();

  /**
   * @param limits how many moves may leave this host at once, and these SRs; from memory
   */
  MoveQueue(Function<Set<String>, Places> limits) {
    this.limits = limits;
  }

  /**
   * Waits for the move's turn.
   *
   * @param task that tells what it waits for; who cancels it ends the waiting
   * @throws XenApiException TASK_CANCELLED; TOO_MANY_STORAGE_MIGRATES [limit] when too many wait;
   *     what the turn fails with
   */
  Place await(Needs needs, Task task, Turn turn) throws XenApiException, InterruptedException {
    Entry entry = new Entry(needs);
    task.onCancel(() -> cancel(needs.migration()));
    enter(entry);
    boolean mine = false;
    try {
      String told = "";
      Optional<String> obstacle;
      do {
        while (!mayAsk(entry, task)) {
          told = tell(task, told, waitsFor(entry));
          await(entry);
        }
        obstacle = turn.ask();
        if (obstacle.isPresent()) {
          stepBack(entry, obstacle.get());
        }
      } while (obstacle.isPresent());
      begin(entry);
      mine = true;
      tell(task, told, "");
      return () -> leave(entry);
    } finally {
      if (!mine) {
        leave(entry);
      }
    }
  }

  /** Each change is a commit and an event. */
  private static String tell(Task task, String told, String now) {
    if (!now.equals(told)) {
      task.tell(Map.of(MoveTasks.TOLD + "waiting", now));
    }
    return now;
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
  private boolean mayAsk(Entry entry, Task task) throws XenApiException {
    lock.lock();
    try {
      if (entry.cancelled) {
        throw new XenApiException("TASK_CANCELLED", task.ref());
      }
      Optional<String> obstacle = obstacle(entry);
      if (obstacle.isPresent()) {
        entry.waitsFor = obstacle.get();
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

  private void await(Entry entry) throws InterruptedException {
    lock.lock();
    try {
      if (!entry.cancelled) {
        long left = LOOK.toNanos();
        long seen = changes;
        while (changes == seen && left > 0) {
          left = changed.awaitNanos(left);
        }
      }
    } finally {
      lock.unlock();
    }
  }

  private void stepBack(Entry entry, String waitsFor) {
    change(() -> {
      entry.state = State.WAITING;
      entry.waitsFor = waitsFor;
      entry.notBefore = System.nanoTime() + ASK_AGAIN.toNanos();
    });
  }

  private void begin(Entry entry) {
    change(() -> entry.state = State.UNDER_WAY);
  }

  private void leave(Entry entry) {
    change(() -> entries.remove(entry.needs.migration(), entry));
  }

  private void change(Runnable how) {
    lock.lock();
    try {
      how.run();
      changes++;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Ends the waiting of a move.
   *
   * @return whether it waits, or did until now
   */
  boolean cancel(MigrationId migration) {
    lock.lock();
    try {
      Entry entry = entries.get(migration);
      if (entry == null || entry.state == State.UNDER_WAY) {
        return false;
      }
      entry.cancelled = true;
      changes++;
      changed.signalAll();
      return true;
    } finally {
      lock.unlock();
    }
  }

  /** Those that wait, the next one first. */
  List<Waiting> waiting() {
    lock.lock();
    try {
      List<Waiting> all = new ArrayList<>();
      for (Entry entry : entries.values()) {
        if (entry.state != State.UNDER_WAY) {
          all.add(
              new Waiting(
                  entry.needs.migration(),
                  entry.needs.vm(),
                  all.size() + 1,
                  entry.waitsFor,
                  entry.since));
        }
      }
      return all;
    } finally {
      lock.unlock();
    }
  }

  /** What is in the way of an entry that waits. With the lock held. */
  private Optional<String> obstacle(Entry mine) {
    Taken taken = new Taken(limits.apply(allSrs()));
    for (Entry entry : entries.values()) {
      if (entry.state != State.WAITING) {
        taken.add(entry.needs);
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
    private final Map<String, Integer> atSr = new HashMap<>();
    private final Set<String> destinations = new HashSet<>();
    private int moves;

    Taken(Places places) {
      this.places = places;
    }

    void add(Needs needs) {
      moves++;
      needs.srs().forEach(sr -> atSr.merge(sr, 1, Integer::sum));
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
      if (entry.notBefore - System.nanoTime() > 0) {
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
