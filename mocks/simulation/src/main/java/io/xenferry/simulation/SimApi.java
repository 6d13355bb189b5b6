package io.xenferry.simulation;

import io.xenferry.copy.CopySnapshot;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.migration.MoveCalls;
import io.xenferry.server.migration.MoveHost;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.TaskWork;
import io.xenferry.server.task.Tasks;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.time.Scheduler;
import io.xenferry.time.SimulatedScheduler;
import io.xenferry.time.SimulatedThreads;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.XmlRpcCodec;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * What clients' calls meet at a server: the product's own tasks, admission, queue and moves, on
 * simulated threads. A call begins where its message is carried out; each is a thread of its own,
 * and ends with the server.
 */
final class SimApi {
  /** As long as who cancels a task waits for the decision. */
  private static final Duration DECISION = Duration.ofSeconds(10);

  /** What a VM's document must have. */
  private static final String DOCUMENT = "{\"version\":1,\"ref\":\"%s\",\"vm\":{}}";

  private static final XmlRpcCodec CODEC = new XmlRpcCodec(Dialect.XENAPI);

  private final World world;
  private final SimHost host;
  private final Coordinator coordinator;
  private final SimulatedThreads threads;
  private final ObjectDatabase database;
  private final VmAdmission admission;
  private final Tasks tasks;
  private final MoveCalls calls;
  private boolean ready;

  SimApi(
      World world,
      SimHost host,
      SimulatedScheduler.Process process,
      Scheduler clock,
      Ledger ledger,
      Coordinator coordinator) {
    this.world = world;
    this.host = host;
    this.coordinator = coordinator;
    threads =
        new SimulatedThreads(process, () -> world.latency(1), () -> new SimulatedCrash(host.name));
    database = host.database.of(process, threads);
    Clock wall = new WallClock(clock);
    tasks = new Tasks(database, new Schema(), wall, BrokenApi.deciding(threads, world.variant));
    admission = new VmAdmission(database, SimDatabase.ALLOWED::refresh);
    calls =
        new MoveCalls(
            new MoveCalls.Parts(
                database,
                ledger,
                coordinator,
                admission,
                tasks,
                new Surroundings(),
                threads,
                wall,
                world::uuid,
                host.database.hostRef(),
                1));
  }

  /**
   * A VM's document, as little of it as must be.
   *
   * @param there what the VM's reference shall be where it goes
   */
  static String document(Ref<VM> there) {
    return DOCUMENT.formatted(there.opaque());
  }

  /** Takes up what a server before this one has left; then calls are answered. */
  void start() {
    threads.start(
        "start",
        () -> {
          try {
            if (world.variant != Variant.OPERATIONS_NOT_FORGOTTEN) {
              admission.forgetAll();
            }
            if (world.variant == Variant.TASKS_NOT_ADOPTED) {
              threads.await(coordinator.recover(migration -> 0));
            } else {
              calls.recover();
            }
            tasks.failOrphans();
            ready = true;
          } catch (XenApiException e) {
            cannotStart(e, e.getCause() instanceof IOException);
          } catch (IllegalStateException e) {
            cannotStart(e, e.getCause() instanceof LedgerException);
          }
        });
  }

  /** Its process ends, and whoever runs servers starts another one. */
  private void cannotStart(Exception failure, boolean fault) {
    if (!fault) {
      throw new IllegalStateException("the server cannot start", failure);
    }
    host.crash("since it cannot start: " + failure.getMessage(), false);
    throw new SimulatedCrash(host.name);
  }

  /** Whether calls are answered. */
  boolean ready() {
    return ready;
  }

  /** Nobody's call is under way, nor does anything follow from one. */
  boolean idle() {
    return ready && threads.idle();
  }

  /** Moves that wait for a place. */
  int queued() {
    return calls.queued();
  }

  /** Ends what is left of the calls of a server that is dead. */
  void end() {
    threads.end();
  }

  /** The tasks that have not ended, as a client sees them. */
  List<Row> pending() {
    List<Row> pending = new ArrayList<>();
    for (Row task : database.snapshot().rows("task")) {
      if (ApiPromises.isPending(task)) {
        pending.add(task);
      }
    }
    return pending;
  }

  /** Async.VM.migrate_send. */
  void send(UUID vm, String token, Map<String, String> options) {
    threads.start(
        "Async.VM.migrate_send",
        () -> {
          Optional<Row> row = database.snapshot().byUuid("VM", vm.toString());
          if (row.isEmpty()) {
            world.count("moves of a VM that is gone");
            return;
          }
          Request request =
              new Request(
                  new Ref<>(row.get().ref()),
                  Map.of("xenferry", token),
                  Map.of(),
                  Map.of(),
                  options,
                  Map.of());
          try {
            Task task =
                tasks.start(
                    "Async.VM.migrate_send", "", Ref.nullRef(), "client", Ref.nullRef(), true);
            threads.start(task.ref(), () -> carryOut(task, request));
          } catch (XenApiException e) {
            world.count("moves without a task");
          }
        });
  }

  private void carryOut(Task task, Request request) {
    TaskWork.carryOut(
        tasks,
        task,
        "VM.migrate_send",
        () -> CODEC.valueElement(Content.of(Value.of(calls.migrations().send(request, task)))));
  }

  /** task.cancel. */
  void cancel(String task) {
    String by = Ref.withUuid(world.uuid()).opaque();
    threads.start(
        "task.cancel",
        () -> {
          long began = threads.nanoTime();
          host.database.promises.cancels(task);
          try {
            tasks.cancel(task, by);
            boolean decided = threads.nanoTime() - began < DECISION.toNanos();
            world.count(decided ? "cancels of tasks" : "cancels of tasks that are not decided yet");
            if (decided) {
              host.database.promises.cancelAnswered(database.snapshot(), task, by);
            }
          } catch (XenApiException e) {
            world.count("cancels of tasks refused");
            if (e.code().equals("OPERATION_NOT_ALLOWED")) {
              host.database.promises.cancelRefused(database.snapshot(), task, by);
            }
          }
        });
  }

  /** A move is cancelled past its task, as over REST. */
  CompletableFuture<Void> cancel(MigrationId migration, Role role) {
    ApiPromises promises = host.database.promises;
    promises.cancels(migration);
    return coordinator
        .cancel(migration, role)
        .whenComplete((done, failure) -> {
          if (failure == null) {
            promises.cancelAnswered(migration);
          }
        });
  }

  /** task.destroy. */
  void destroy(String task) {
    String by = Ref.withUuid(world.uuid()).opaque();
    threads.start(
        "task.destroy",
        () -> {
          try {
            tasks.destroy(task, by);
            world.count("tasks destroyed");
          } catch (XenApiException e) {
            world.count("tasks not destroyed");
          }
        });
  }

  /** A host's wall clock. */
  private static final class WallClock extends Clock {
    private final Scheduler clock;

    WallClock(Scheduler clock) {
      this.clock = clock;
    }

    @Override
    public Instant instant() {
      return clock.now();
    }

    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      throw new UnsupportedOperationException("there is one zone");
    }
  }

  /** Guests and disks, as the simulated host has them. */
  private final class Surroundings implements MoveHost {
    @Override
    public Optional<MoveRequest> prepare(Survey survey, Snapshot db, Request asked, Ref<VM> there)
        throws XenApiException {
      UUID vm = UUID.fromString(db.get(asked.vm(), VM.UUID));
      return Optional.of(
          new MoveRequest(
              Clients.plan(world, host, vm, asked.options()),
              document(there),
              asked.dest().getOrDefault("xenferry", "")));
    }

    @Override
    public void leaves(Ref<VM> vm, String task) {}

    @Override
    public void left(Ref<VM> vm, String task) {}

    @Override
    public void stayed(Ref<VM> vm, boolean begunHere, String task) {}

    @Override
    public Optional<CopySnapshot> copy(MigrationId migration) {
      return Optional.empty();
    }

    @Override
    public void surveyWithinPool(Survey survey, Snapshot db, Request asked) {
      throw new IllegalStateException("each host is a pool of its own");
    }

    @Override
    public void moveWithinPool(Request asked, Task task) {
      throw new IllegalStateException("each host is a pool of its own");
    }
  }
}
