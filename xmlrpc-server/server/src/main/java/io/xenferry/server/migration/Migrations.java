package io.xenferry.server.migration;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Origin;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.VmAdmission;
import java.net.InetAddress;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Moves VMs for clients: checks a request, builds its plan, and follows the coordinator. */
public final class Migrations {
  private static final Logger log = LoggerFactory.getLogger(Migrations.class);

  private final ObjectDatabase database;
  private final Coordinator coordinator;
  private final VmAdmission admission;
  private final MoveAnswers answers;
  private final MoveTasks tasks;
  private final MoveHost host;
  private final MoveQueue queue;
  private final Supplier<UUID> uuids;
  private final int port;

  /**
   * @param uuids for the references of VMs where they go
   * @param port of this server's TLS listener, for tokens
   */
  Migrations(
      ObjectDatabase database,
      Coordinator coordinator,
      VmAdmission admission,
      MoveAnswers answers,
      MoveTasks tasks,
      MoveHost host,
      MoveQueue queue,
      Supplier<UUID> uuids,
      int port) {
    this.database = database;
    this.coordinator = coordinator;
    this.admission = admission;
    this.answers = answers;
    this.tasks = tasks;
    this.host = host;
    this.queue = queue;
    this.uuids = uuids;
    this.port = port;
  }

  /** A token for one migration to this host, through one of its addresses. */
  String issueToken(String address) {
    String authority = address.contains(":") ? "[" + address + "]" : address;
    return coordinator.issueToken(List.of(), "https://" + authority + ":" + port);
  }

  /**
   * Every check that the move will make before it begins, here and at the destination; does
   * nothing.
   *
   * @param caller the address from which the question comes, as {@link Origin} has it
   * @return what stands against the move, in the order in which it would meet it, and warnings
   * @throws XenApiException HANDLE_INVALID for a VM that is gone
   */
  List<Obstacle> survey(Request request, String caller)
      throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    Survey survey = new Survey(Role.SOURCE);
    Optional<InetAddress> from = GuestAddresses.peer(caller);
    if (from.filter(GuestAddresses.of(db, request.vm())::contains).isPresent()) {
      survey.warn(ObstacleKind.CALLER_IN_VM, from.get().getHostAddress());
    }
    survey(admission, survey, db, request.vm(), VmOperations.MIGRATE_SEND);
    if (isWithinPool(db, request)) {
      host.surveyWithinPool(survey, db, request);
    } else {
      Optional<MoveRequest> move = host.prepare(survey, db, request, Ref.withUuid(uuids.get()));
      if (move.isPresent()) {
        answers
            .await(coordinator.survey(move.get()), request.vm(), request.destination())
            .forEach(survey::add);
      }
    }
    return survey.found().stream()
        .map(found -> answers.complete(found, request.vm(), request.destination()))
        .toList();
  }

  /**
   * What a move takes of its destination, as far as can be told from here.
   *
   * @return empty for one within the pool, and for one that has no plan
   * @throws XenApiException HANDLE_INVALID for a VM that is gone
   */
  Optional<Plan> plan(Request request) throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    return isWithinPool(db, request)
        ? Optional.empty()
        : host.prepare(new Survey(Role.SOURCE), db, request, Ref.withUuid(uuids.get()))
            .map(MoveRequest::plan);
  }

  /**
   * The same as clients of the published server know it.
   *
   * @throws XenApiException the first obstacle; the log tells all
   */
  void check(Request request, String caller) throws XenApiException, InterruptedException {
    List<Obstacle> found = survey(request, caller);
    if (!found.isEmpty()) {
      log.info("against the move of VM {} stands: {}", request.vm(), found);
    }
    answers.refuse(found, request.vm(), request.destination());
  }

  /** Tells all that stands against an operation by the VM's record. */
  static void survey(
      VmAdmission admission, Survey survey, Snapshot db, Ref<VM> vm, VmOperations operation)
      throws XenApiException {
    ObstacleKind notAllowed =
        db.get(vm, VM.IS_CONTROL_DOMAIN)
            ? ObstacleKind.CONTROL_DOMAIN
            : ObstacleKind.VM_OF_A_MIGRATION;
    admission.check(
        db,
        vm,
        operation,
        objection ->
            survey.raise(
                objection,
                ObstacleKind.VM_BLOCKED,
                ObstacleKind.VM_POWER_STATE,
                ObstacleKind.VM_BUSY,
                ObstacleKind.VM_SNAPSHOT,
                ObstacleKind.VM_TEMPLATE,
                ObstacleKind.VM_IMMOBILE,
                ObstacleKind.VM_WITH_PCI,
                ObstacleKind.VM_WITH_GPU,
                ObstacleKind.VM_WITH_USB,
                notAllowed));
  }

  /**
   * Moves the VM, and returns when it is the destination's.
   *
   * @return the VM's reference in the destination's pool
   */
  public Ref<VM> send(Request request, Task task) throws XenApiException, InterruptedException {
    Ref<VM> vm = request.vm();
    if (isWithinPool(database.snapshot(), request)) {
      host.moveWithinPool(request, task);
      return vm;
    }
    Ref<VM> there = Ref.withUuid(uuids.get());
    MoveCancel cancel = MoveCancel.of(task);
    try (var operation = admission.begin(vm, VmOperations.MIGRATE_SEND, task.ref())) {
      MoveRequest asked = prepare(request, there);
      answers.await(coordinator.check(asked), cancel, vm, request.destination());
      try (MoveQueue.Place place =
          queue.await(
              needs(request, asked),
              task,
              cancel,
              () -> answers.await(coordinator.turn(asked), cancel, vm, request.destination()))) {
        move(request, there, task, cancel, place);
      }
    } catch (XenApiException e) {
      throw cancel.instead(e);
    }
    return there;
  }

  /** As the VM is now: it may have waited for long. */
  private void move(
      Request request, Ref<VM> there, Task task, MoveCancel cancel, MoveQueue.Place place)
      throws XenApiException, InterruptedException {
    Ref<VM> vm = request.vm();
    host.leaves(vm, task.ref());
    try {
      MoveRequest move = prepare(request, there);
      tasks.begins(task, move);
      cancel.throwIfAsked();
      Coordinator.Started started =
          answers.await(coordinator.start(move), vm, request.destination());
      cancel.moveHasBegun();
      place.begun(() -> coordinator.cancel(started.migration(), Role.SOURCE));
      tasks.follow(started, task, vm, request.destination());
    } catch (InterruptedException e) {
      place.leftToTheNextServer();
      throw e;
    } finally {
      host.left(vm, task.ref());
    }
  }

  private MoveQueue.Needs needs(Request request, MoveRequest move) {
    return new MoveQueue.Needs(
        coordinator.migrationOf(move),
        move.plan().vm(),
        MovePlaces.from(database.snapshot(), move.plan()),
        request.destination());
  }

  private MoveRequest prepare(Request request, Ref<VM> there)
      throws XenApiException, InterruptedException {
    Survey survey = new Survey(Role.SOURCE);
    Optional<MoveRequest> move = host.prepare(survey, database.snapshot(), request, there);
    answers.refuse(survey.found(), request.vm(), request.destination());
    return move.orElseThrow();
  }

  /** Whether the destination is a host of this pool, which is this one. */
  private boolean isWithinPool(Snapshot db, Request request) {
    return db.row("host", request.dest().getOrDefault("host", "")).isPresent()
        || request.token().map(coordinator::issued).orElse(false);
  }
}
