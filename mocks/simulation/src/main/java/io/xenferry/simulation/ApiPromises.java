package io.xenferry.simulation;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.schema.Schema;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What clients of a host are told by its tasks, and by the answers to their cancels; held against
 * both ledgers and the guests. It knows the database's rows only.
 */
final class ApiPromises {
  private static final Schema SCHEMA = new Schema();
  private static final String PENDING = "pending";
  private static final String SUCCESS = "success";
  private static final String CANCELLED = "cancelled";

  private final World world;
  private final SimHost host;
  private final Map<String, Told> told = new HashMap<>();

  /** Tasks whose cancel was answered well, before it was too late for that. */
  private final Set<String> kept = new HashSet<>();

  /** Tasks, or their moves, that somebody has cancelled and was not refused. */
  private final Set<String> perhaps = new HashSet<>();

  /** Moves whose VM stays, as clients were told who cancelled them at a host. */
  private final Set<MigrationId> staying = new HashSet<>();

  /** Moves that were cancelled at a host, whatever was answered. */
  private final Set<MigrationId> cancelled = new HashSet<>();

  /** How a task of a move has ended. */
  private final List<End> ends = new ArrayList<>();

  private record Told(double progress, String status) {}

  private record End(String task, MigrationId migration, boolean success) {}

  ApiPromises(World world, SimHost host) {
    this.world = world;
    this.host = host;
  }

  /** The migration that a task stands for, if that is known by now. */
  static @Nullable MigrationId migration(Row task) {
    String noted = SCHEMA.textMap(task, "server_notes").get("migration");
    return noted == null ? null : MigrationId.parse(noted);
  }

  static boolean isPending(Row task) {
    return SCHEMA.text(task, "status").equals(PENDING);
  }

  /** What tasks show of moves from here. */
  Map<MigrationId, Double> progressShown() {
    Map<MigrationId, Double> shown = new HashMap<>();
    for (Row task : host.database.snapshot().rows("task")) {
      MigrationId migration = migration(task);
      if (migration != null) {
        shown.merge(migration, progress(task), Math::max);
      }
    }
    return shown;
  }

  private static double progress(Row task) {
    return ((Value.Real) SCHEMA.get(task, "progress")).value();
  }

  /** Looks at what clients see now. */
  void committed(Snapshot db) {
    for (Row task : db.rows("task")) {
      double progress = progress(task);
      String status = SCHEMA.text(task, "status");
      Told before = told.put(task.ref(), new Told(progress, status));
      if (before == null) {
        continue;
      }
      world.check(
          progress >= before.progress,
          Invariant.TASK_PROGRESS,
          host.name + " " + task.ref() + ": " + before.progress + ", then " + progress);
      if (before.status.equals(PENDING) && !status.equals(PENDING)) {
        ended(db, task, status);
      }
    }
  }

  private void ended(Snapshot db, Row task, String status) {
    List<String> error = SCHEMA.texts(task, "error_info");
    world.trace(() -> host.name + ": a task ends: " + status + " " + error);
    world.count("tasks: " + status);
    MigrationId migration = migration(task);
    world.check(
        !kept.contains(task.ref()) || status.equals(CANCELLED),
        Invariant.CANCEL_KEPT,
        host.name + ": a task whose cancel was answered well ends: " + status + " " + error);
    world.check(
        !status.equals(CANCELLED)
            || perhaps.contains(task.ref())
            || (migration != null && (anybodyCancels(migration) || cancelled.contains(migration))),
        Invariant.CANCEL_KEPT,
        host.name + ": a task ends cancelled that nobody has cancelled: " + task.ref());
    if (migration != null) {
      End end = new End(task.ref(), migration, status.equals(SUCCESS));
      ends.add(end);
      check(end, "as the task ends");
    }
  }

  /** At the other host. */
  private boolean anybodyCancels(MigrationId migration) {
    return world.other(host).database.promises.cancelled.contains(migration);
  }

  /** A task has ended well only if the VM is the destination's, and else only if it is not. */
  private void check(End end, String when) {
    Optional<LedgerRow> here = host.ledgerDisk.find(end.migration, Role.SOURCE);
    Optional<LedgerRow> there = world.other(host).ledgerDisk.find(end.migration, Role.DESTINATION);
    boolean forced = Stream.of(here, there).flatMap(Optional::stream).anyMatch(LedgerRow::forced);
    if (world.operated || forced) {
      return; // whose VM it is, is for an operator to say
    }
    Optional<State> source = here.map(LedgerRow::state);
    Optional<State> destination = there.map(LedgerRow::state);
    boolean given = source.filter(State.GIVEN::equals).isPresent();
    boolean runs =
        destination.filter(state -> state == State.STARTING || state == State.RUNNING).isPresent();
    world.check(
        end.success ? given && runs : !given && !runs,
        Invariant.TASK_TRUTH,
        host.name
            + ", "
            + when
            + ": it says "
            + (end.success ? "success" : "failure")
            + ", source "
            + source
            + ", destination "
            + destination);
  }

  /** A move from here is durable. */
  void inspectPlaces() {
    List<MigrationId> leaving =
        host.ledgerDisk.unended().stream()
            .filter(row -> row.role() == Role.SOURCE && !row.state().outcome())
            .map(LedgerRow::migration)
            .toList();
    world.check(
        leaving.size() <= SimDatabase.PLACES || !world.placesCount,
        Invariant.PLACES,
        host.name + ": these moves are under way: " + leaving);
  }

  // ---- cancels

  /** Somebody cancels a task, and has no answer yet. */
  void cancels(String task) {
    perhaps.add(task);
  }

  /**
   * Somebody who cancelled a task was answered well: so it ends, unless it had ended before, and
   * bears no mark of the cancel.
   */
  void cancelAnswered(Snapshot db, String task, String by) {
    Optional<Row> marked =
        db.row("task", task)
            .filter(row -> SCHEMA.textMap(row, "current_operations").containsKey(by));
    if (marked.isPresent()) {
      kept.add(task);
      String status = SCHEMA.text(marked.get(), "status");
      world.check(
          status.equals(PENDING) || status.equals(CANCELLED),
          Invariant.CANCEL_KEPT,
          host.name + ": it has ended meanwhile: " + status);
    }
  }

  /** Somebody who cancelled a task was told that it is too late. */
  void cancelRefused(Snapshot db, String task, String by) {
    db.row("task", task)
        .ifPresent(row ->
            world.check(
                !SCHEMA.textMap(row, "current_operations").containsKey(by),
                Invariant.CANCEL_KEPT,
                host.name + ": a cancel that was refused has left its mark"));
  }

  /** Somebody cancels a move at this host, past its task, and has no answer yet. */
  void cancels(MigrationId migration) {
    cancelled.add(migration);
  }

  /** Who has cancelled a move was told that the VM stays. */
  void cancelAnswered(MigrationId migration) {
    staying.add(migration);
  }

  // ---- in the end

  /** What must be so in the end. */
  void judge(Snapshot db, SimApi api) {
    for (Row task : db.rows("task")) {
      world.check(!isPending(task), Invariant.API_ENDS, host.name + ": a task is pending");
    }
    for (Row vm : db.rows("VM")) {
      world.check(
          operations(db, vm).isEmpty(),
          Invariant.API_ENDS,
          host.name + ": the VM has " + operations(db, vm));
    }
    world.check(api.queued() == 0, Invariant.API_ENDS, host.name + ": somebody waits for a place");
    ends.forEach(end -> check(end, "in the end"));
    for (MigrationId migration : staying) {
      for (SimHost each : world.hosts) {
        world.check(
            each.ledgerDisk
                .find(migration, Role.DESTINATION)
                .filter(row -> row.state() == State.RUNNING)
                .isEmpty(),
            Invariant.CANCEL_KEPT,
            "the VM has moved although a client was told that it stays");
      }
    }
  }

  private static Map<String, ?> operations(Snapshot db, Row vm) {
    try {
      return db.get(new Ref<VM>(vm.ref()), VM.CURRENT_OPERATIONS);
    } catch (XenApiException e) {
      throw new IllegalStateException(e);
    }
  }
}
