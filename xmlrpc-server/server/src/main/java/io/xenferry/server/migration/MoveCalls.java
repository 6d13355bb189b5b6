package io.xenferry.server.migration;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Tasks;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.time.Threads;
import java.time.Clock;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.function.Supplier;

/**
 * What stands between clients' calls for moves and the coordinator: admission, the queue, and the
 * tasks by which clients follow moves and cancel them.
 */
public final class MoveCalls {
  private final Coordinator coordinator;
  private final Threads threads;
  private final MoveTasks tasks;
  private final MoveQueue queue;
  private final Migrations migrations;

  /**
   * What it stands on.
   *
   * @param threads that calls are on
   * @param uuids for the references of VMs where they go
   * @param hostRef this host's record
   * @param port of this server's TLS listener, for tokens
   */
  public record Parts(
      ObjectDatabase database,
      Ledger ledger,
      Coordinator coordinator,
      VmAdmission admission,
      Tasks tasks,
      MoveHost host,
      Threads threads,
      Clock clock,
      Supplier<UUID> uuids,
      Ref<Host> hostRef,
      int port) {}

  public MoveCalls(Parts parts) {
    coordinator = parts.coordinator();
    threads = parts.threads();
    MoveAnswers answers = new MoveAnswers(parts.database(), parts.hostRef(), threads);
    tasks =
        new MoveTasks(
            parts.database(),
            parts.ledger(),
            coordinator,
            parts.admission(),
            parts.tasks(),
            answers,
            parts.host(),
            threads);
    queue =
        new MoveQueue(
            srs -> MovePlaces.of(parts.database(), MovePlaces.OUT, srs),
            () -> leaving(parts.database()),
            threads,
            parts.clock()::instant);
    migrations =
        new Migrations(
            parts.database(),
            coordinator,
            parts.admission(),
            answers,
            tasks,
            parts.host(),
            queue,
            parts.uuids(),
            parts.port());
  }

  /** The moves from here that are under way, with the SRs that their disks are on. */
  private Map<MigrationId, Set<String>> leaving(ObjectDatabase database) {
    Snapshot db = database.snapshot();
    Map<MigrationId, Set<String>> leaving = new HashMap<>();
    coordinator.leaving().forEach((id, plan) -> leaving.put(id, MovePlaces.from(db, plan)));
    return leaving;
  }

  /** By which VMs are moved. */
  public Migrations migrations() {
    return migrations;
  }

  /** How many moves wait for their turn. */
  public int queued() {
    return queue.waiting().size();
  }

  MoveQueue queue() {
    return queue;
  }

  /** Takes up the ledger's unended migrations, and the tasks that stand for them. */
  public void recover() throws InterruptedException {
    try {
      threads.await(coordinator.recover(tasks.shown()));
    } catch (ExecutionException e) {
      throw new IllegalStateException("the ledger cannot be taken up", e.getCause());
    }
    tasks.adoptAll();
  }
}
