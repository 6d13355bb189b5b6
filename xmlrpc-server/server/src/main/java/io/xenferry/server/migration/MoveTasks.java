package io.xenferry.server.migration;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.flow.SourceMigration;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.time.Threads;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.XmlRpcCodec;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.ToDoubleFunction;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The tasks by which clients follow moves. A move outlives its server, and so does its task: it
 * names the migration before that begins, and the next server takes it up and finishes it with what
 * has become of the VM.
 */
final class MoveTasks {
  private static final Logger log = LoggerFactory.getLogger(MoveTasks.class);

  /**
   * How long a task waits until nothing is left of a move that has come to nothing: that takes a
   * second or two where the destination answers.
   */
  private static final Duration CLEAN_UP = Duration.ofSeconds(15);

  /** After so many questions without an answer the destination is not waited for. */
  private static final int UNANSWERED = 3;

  /** In a task's notes: the migration that it stands for. */
  private static final String MIGRATION = "migration";

  /** Before what a task's other_config tells of its move. */
  static final String TOLD = "xenferry:";

  /** A change is an event for everybody who watches tasks. */
  private static final Duration TELL = Duration.ofSeconds(5);

  private final ObjectDatabase database;
  private final Ledger ledger;
  private final Coordinator coordinator;
  private final VmAdmission admission;
  private final Tasks tasks;
  private final MoveAnswers answers;
  private final MoveHost host;
  private final Threads threads;
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

  MoveTasks(
      ObjectDatabase database,
      Ledger ledger,
      Coordinator coordinator,
      VmAdmission admission,
      Tasks tasks,
      MoveAnswers answers,
      MoveHost host,
      Threads threads) {
    this.database = database;
    this.ledger = ledger;
    this.coordinator = coordinator;
    this.admission = admission;
    this.tasks = tasks;
    this.answers = answers;
    this.host = host;
    this.threads = threads;
  }

  /** Before the move begins: its task says which one it is. */
  void begins(Task task, MoveRequest move) throws XenApiException {
    String migration = coordinator.migrationOf(move).toString();
    task.note(MIGRATION, migration);
    task.tell(Map.of(TOLD + "migration", migration));
  }

  /** Shows in the task how the move goes on, until it has come out one way or the other. */
  void follow(Coordinator.Started started, Task task, Ref<VM> vm, String destination)
      throws XenApiException, InterruptedException {
    task.cancellable(true);
    task.onCancelAsk(() -> coordinator.cancel(started.migration(), Role.SOURCE));
    AutoCloseable listener = show(started.migration(), task);
    try {
      answers.await(started.outcome(), vm, destination);
    } catch (XenApiException e) {
      host.stayed(vm, true, task.ref());
      awaitEnd(started.migration());
      task.throwIfCancelled();
      throw isCancel(e) ? cancelled(task) : e;
    } finally {
      close(listener);
      tellReport(started.migration(), task);
    }
  }

  /** What the move has cost, in the task's other_config, for as long as there is a task. */
  private void tellReport(MigrationId id, Task task) {
    coordinator
        .status(id, Role.SOURCE)
        .flatMap(status -> MoveReport.of(status, host.copy(id)))
        .ifPresent(report -> {
          log.info("migration {}: {}", id, report.lines());
          Map<String, String> told = new LinkedHashMap<>();
          report.figures().forEach((name, value) -> told.put(TOLD + name, value.toString()));
          told.put(TOLD + "bottleneck", report.bottleneck());
          task.tell(told);
        });
  }

  /**
   * Returns when nothing is left of a move that has come to nothing, here or at its destination:
   * until then another move of the VM would be refused. A destination that does not answer may be
   * away for ever, and is asked on when this has returned.
   */
  private void awaitEnd(MigrationId id) throws InterruptedException {
    CompletableFuture<Void> over = new CompletableFuture<>();
    AutoCloseable listener =
        coordinator.listen(status -> {
          if (status.migration().equals(id) && status.role() == Role.SOURCE && isOver(status)) {
            over.complete(null);
          }
        });
    try {
      if (coordinator.status(id, Role.SOURCE).filter(status -> !isOver(status)).isPresent()) {
        threads.await(over, CLEAN_UP);
      }
    } catch (TimeoutException e) {
      log.info("migration {}: its task ends before all that it has left is gone", id);
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    } finally {
      close(listener);
    }
  }

  /** A guest that may still shut down is watched for minutes, which nobody needs to wait for. */
  private static boolean isOver(MigrationStatus status) {
    return status.ended()
        || status.phase().equals(SourceMigration.WATCHING)
        || status
            .waiting()
            .filter(asked -> asked.attempts() > UNANSWERED && asked.unanswered())
            .isPresent();
  }

  private AutoCloseable show(MigrationId id, Task task) {
    Shown shown = new Shown(task);
    return coordinator.listen(status -> {
      if (status.migration().equals(id) && status.role() == Role.SOURCE && shown.isNews(status)) {
        threads.start("progress of " + id, () -> shown.show(status));
      }
    });
  }

  /** What a task shows of its move: each change of it is a commit, which the move waits for not. */
  private final class Shown {
    private final Task task;
    private final AtomicLong told = new AtomicLong(threads.nanoTime() - TELL.toNanos());

    /** Of what is being shown; on the coordinator's thread only. */
    private double progress = -Tasks.STEP;

    private boolean decided;

    Shown(Task task) {
      this.task = task;
    }

    /** Whether the task does not show it yet. */
    boolean isNews(MigrationStatus status) {
      boolean news =
          status.progress() >= progress + Tasks.STEP
              || isDecided(status) != decided
              || threads.nanoTime() - told.get() >= TELL.toNanos();
      if (news) {
        progress = Math.max(progress, status.progress());
        decided = isDecided(status);
      }
      return news;
    }

    void show(MigrationStatus status) {
      if (isDecided(status)) {
        task.cancellable(false);
      }
      task.progress(status.progress());
      long last = told.get();
      long now = threads.nanoTime();
      if (now - last >= TELL.toNanos() && told.compareAndSet(last, now)) {
        tellForecast(status, task);
      }
    }

    private static boolean isDecided(MigrationStatus status) {
      return !status.state().mayBecome(State.COMMITTING)
          && !status.state().mayBecome(State.SWITCHING);
    }
  }

  private void tellForecast(MigrationStatus status, Task task) {
    Map<String, String> told = new LinkedHashMap<>();
    told.put(TOLD + "phase", status.phaseAndPeer());
    host.copy(status.migration())
        .ifPresent(copy -> {
          told.put(
              TOLD + "predicted-downtime-ms",
              copy.predictedDowntime().map(pause -> Long.toString(pause.toMillis())).orElse(""));
          told.put(
              TOLD + "predicted-remaining-ms",
              copy.predictedRemaining().map(left -> Long.toString(left.toMillis())).orElse(""));
          told.put(TOLD + "converges", Boolean.toString(copy.converges()));
        });
    task.tell(told);
  }

  private static void close(AutoCloseable listener) {
    try {
      listener.close();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * What tasks of a server before this one show of their moves, by these; a step more, since they
   * tell whole steps only. Of a move that has come out the task may have ended, which shows all,
   * and be gone.
   */
  ToDoubleFunction<LedgerRow> shown() {
    Map<String, Double> shown = new HashMap<>();
    tasks
        .allWith(MIGRATION)
        .forEach((ref, migration) ->
            shown.merge(migration, tasks.progress(ref) + Tasks.STEP, Math::max));
    return row -> shown.getOrDefault(row.migration().toString(), row.state().outcome() ? 1.0 : 0.0);
  }

  /**
   * After the ledger was taken up: tasks of a server before this one, whose moves go on or have
   * come out meanwhile. A task whose move never became durable is left as it is.
   */
  void adoptAll() {
    Map<String, String> pending = tasks.pendingWith(MIGRATION);
    pending.forEach((ref, migration) -> {
      Optional<LedgerRow> row = find(migration);
      if (row.isPresent()) {
        tasks.adopt(ref).ifPresent(task -> adopt(task, row.get()));
      }
    });
    for (LedgerRow row : ledger.rows()) {
      if (row.role() == Role.SOURCE
          && !row.state().outcome()
          && !pending.containsValue(row.migration().toString())) {
        adoptUntold(row);
      }
    }
  }

  /** Somebody has destroyed its task: another one tells of it, and holds the VM until then. */
  private void adoptUntold(LedgerRow row) {
    try {
      Task task =
          tasks.start(
              "VM.migrate_send",
              "Goes on after a restart of the server",
              Ref.nullRef(),
              "",
              Ref.nullRef());
      task.note(MIGRATION, row.migration().toString());
      task.tell(Map.of(TOLD + "migration", row.migration().toString()));
      adopt(task, row);
    } catch (XenApiException e) {
      log.warn("no task tells of migration {}", row.migration(), e);
    }
  }

  private Optional<LedgerRow> find(String migration) {
    try {
      return ledger.find(MigrationId.parse(migration), Role.SOURCE);
    } catch (IllegalArgumentException e) {
      log.warn("a task names a migration that is none: {}", migration);
      return Optional.empty();
    }
  }

  private void adopt(Task task, LedgerRow row) {
    log.info("task {} goes on with migration {}", task.ref(), row.migration());
    Ref<VM> vm =
        database
            .snapshot()
            .byUuid("VM", row.vm().toString())
            .map(found -> new Ref<VM>(found.ref()))
            .orElseGet(Ref::nullRef);
    Optional<VmAdmission.InProgress> operation = Optional.empty();
    try {
      boolean goesOn =
          coordinator
              .status(row.migration(), Role.SOURCE)
              .filter(status -> status.state() == State.SENDING)
              .isPresent();
      task.cancellable(goesOn);
      if (goesOn) {
        task.onCancelAsk(() -> coordinator.cancel(row.migration(), Role.SOURCE));
      }
      if (goesOn && tasks.cancelAsked(task.ref())) {
        // The server before was told, and did not come to it.
        var unused = coordinator.cancel(row.migration(), Role.SOURCE);
      }
      if (!vm.isNull()) {
        operation = Optional.of(admission.goesOn(vm, VmOperations.MIGRATE_SEND, task.ref()));
      }
    } catch (XenApiException e) {
      log.warn("the operation of task {} is not shown", task.ref(), e);
    }
    Optional<VmAdmission.InProgress> shown = operation;
    AutoCloseable listener = show(row.migration(), task);
    CompletableFuture<MigrationStatus> outcome = coordinator.outcome(row.migration());
    outcome.whenComplete((status, failure) ->
        threads.start(
            "finish task " + task.ref(),
            () -> {
              close(listener);
              tellReport(row.migration(), task);
              if (failure != null && !vm.isNull()) {
                host.stayed(vm, false, task.ref());
              }
              if (failure != null) {
                awaitEnd(row.migration());
              }
              shown.ifPresent(VmAdmission.InProgress::close);
              finish(task, row, vm, Optional.ofNullable(failure));
            }));
  }

  private void finish(Task task, LedgerRow row, Ref<VM> vm, Optional<Throwable> failure)
      throws XenApiException {
    if (failure.isEmpty()) {
      Value there = Value.of(VmDocument.parse(row.metadata()).ref());
      tasks.succeed(task.ref(), codec.valueElement(Content.of(there)));
      return;
    }
    XenApiException why =
        answers.translated(failure.get(), vm, MoveAnswers.destination(row.token()));
    tasks.fail(task.ref(), tasks.cancelAsked(task.ref()) || isCancel(why) ? cancelled(task) : why);
  }

  /** Also one that was asked of the migration, and not of the task. */
  private static boolean isCancel(XenApiException e) {
    return e.code().equals("TASK_CANCELLED");
  }

  private static XenApiException cancelled(Task task) {
    return new XenApiException("TASK_CANCELLED", task.ref());
  }
}
