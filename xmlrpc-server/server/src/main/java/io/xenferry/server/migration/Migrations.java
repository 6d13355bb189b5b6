package io.xenferry.server.migration;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Host;
import io.xenferry.model.Network;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Origin;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.storage.DiskMoves;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.storage.MoveChecks;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.VmAdmission;
import java.net.InetAddress;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Moves VMs for clients: checks a request, builds its plan, and follows the coordinator. */
public final class Migrations {
  private static final Logger log = LoggerFactory.getLogger(Migrations.class);

  private final ObjectDatabase database;
  private final MigrationDisks disks;
  private final Coordinator coordinator;
  private final VmAdmission admission;
  private final MoveAnswers answers;
  private final MoveTasks tasks;
  private final DiskMoves moves;
  private final MovePreparation preparation;
  private final Note variables;
  private final EjectedCds cds;
  private final MoveQueue queue;
  private final int port;

  /**
   * @param port of this server's TLS listener, for tokens
   */
  Migrations(
      ObjectDatabase database,
      MigrationDisks disks,
      Coordinator coordinator,
      VmAdmission admission,
      MoveAnswers answers,
      MoveTasks tasks,
      DiskMoves moves,
      MovePreparation preparation,
      Note variables,
      EjectedCds cds,
      MoveQueue queue,
      int port) {
    this.queue = queue;
    this.cds = cds;
    this.variables = variables;
    this.database = database;
    this.disks = disks;
    this.coordinator = coordinator;
    this.admission = admission;
    this.answers = answers;
    this.tasks = tasks;
    this.moves = moves;
    this.preparation = preparation;
    this.port = port;
  }

  /** Brings the record of a VM up to date with what its guest has changed in its firmware. */
  @FunctionalInterface
  interface Note {
    void note(Ref<VM> vm) throws XenApiException;
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
    admission(survey, db, request.vm(), VmOperations.MIGRATE_SEND);
    if (isWithinPool(db, request)) {
      withinPool(survey, db, request);
    } else {
      Optional<MoveRequest> move = preparation.prepare(survey, db, request, Ref.random());
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
        : preparation
            .prepare(new Survey(Role.SOURCE), db, request, Ref.random())
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
    refuse(found, request);
  }

  private void refuse(List<Obstacle> found, Request request) throws XenApiException {
    Optional<Obstacle> first = Survey.first(found);
    if (first.isPresent()) {
      throw answers.translated(first.get().toException(), request.vm(), request.destination());
    }
  }

  private void admission(Survey survey, Snapshot db, Ref<VM> vm, VmOperations operation)
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
  Ref<VM> send(Request request, Task task) throws XenApiException, InterruptedException {
    Ref<VM> vm = request.vm();
    if (isWithinPool(database.snapshot(), request)) {
      moveDisks(request, task);
      return vm;
    }
    Ref<VM> there = Ref.random();
    try (var operation = admission.begin(vm, VmOperations.MIGRATE_SEND, task.ref())) {
      MoveCancel cancel = MoveCancel.of(task);
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
    }
    return there;
  }

  /** As the VM is now: it may have waited for long. */
  private void move(
      Request request, Ref<VM> there, Task task, MoveCancel cancel, MoveQueue.Place place)
      throws XenApiException, InterruptedException {
    Ref<VM> vm = request.vm();
    variables.note(vm);
    cds.eject(vm, task.ref());
    try {
      MoveRequest move = prepare(request, there);
      tasks.begins(task, move);
      cancel.throwIfAsked();
      Coordinator.Started started =
          answers.await(coordinator.start(move), vm, request.destination());
      place.begun(() -> coordinator.cancel(started.migration(), Role.SOURCE));
      tasks.follow(started, task, vm, request.destination());
    } finally {
      // Does nothing for one that has moved.
      cds.putBack(vm, task.ref());
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
    Optional<MoveRequest> move = preparation.prepare(survey, database.snapshot(), request, there);
    refuse(survey.found(), request);
    return move.orElseThrow();
  }

  /** Whether the destination is a host of this pool, which is this one. */
  private boolean isWithinPool(Snapshot db, Request request) {
    return db.row("host", request.dest().getOrDefault("host", "")).isPresent()
        || request.token().map(coordinator::issued).orElse(false);
  }

  /**
   * What the published server would refuse of a move within a pool, and what the disks' own moves
   * would.
   *
   * @return the SR for each disk of the VM
   */
  private Map<Ref<VDI>, Ref<SR>> withinPool(Survey survey, Snapshot db, Request asked)
      throws XenApiException {
    Request request = asked.with(MoveOptions.withinServer(survey, db, asked.vm(), asked.options()));
    if (request.copy()) {
      survey.raise(noCopy(), ObstacleKind.COPY_WITHIN_POOL);
    }
    Map<Ref<VDI>, Ref<SR>> srs = new LinkedHashMap<>();
    for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, request.vm())) {
      if (!disk.cd()) {
        String sr = request.vdis().get(disk.vdi().opaque());
        if (sr == null) {
          survey.raise(
              new XenApiException("VDI_NOT_IN_MAP", disk.vdi().opaque()),
              ObstacleKind.DISK_WITHOUT_SR);
        } else {
          srs.put(disk.vdi(), new Ref<>(sr));
        }
      }
    }
    if (!request.vifs().isEmpty()) {
      survey.raise(
          new XenApiException(
              "OPERATION_NOT_ALLOWED",
              "VIF mapping is not allowed for intra-pool migration: the VIFs stay on their"
                  + " networks."),
          ObstacleKind.VIFS_WITHIN_POOL);
    }
    boolean runs = db.get(request.vm(), VM.POWER_STATE) == VmPowerState.RUNNING;
    Map<String, Long> bytes = new LinkedHashMap<>();
    for (Map.Entry<Ref<VDI>, Ref<SR>> disk : srs.entrySet()) {
      Ref<VDI> vdi = disk.getKey();
      Ref<SR> sr = disk.getValue();
      survey.look(() -> MoveChecks.checkType(db, vdi), ObstacleKind.DISK_TYPE);
      survey.look(() -> MoveChecks.checkUntracked(db, vdi, sr), ObstacleKind.DISK_TRACKED);
      survey.look(
          () -> MoveChecks.checkFormat(db, vdi, sr, request.format(vdi)), ObstacleKind.BAD_OPTION);
      if (!db.get(vdi, VDI.SR).equals(sr)) {
        bytes.merge(sr.opaque(), db.get(vdi, VDI.VIRTUAL_SIZE), Long::sum);
        survey.look(
            () -> moves.checkFormat(vdi, sr, request.format(vdi), runs),
            ObstacleKind.TARGET_SR_UNKNOWN,
            ObstacleKind.TARGET_SR_DETACHED,
            ObstacleKind.TARGET_SR_FORMAT);
      }
    }
    disks.checkSpace(survey, bytes);
    return srs;
  }

  private static XenApiException noCopy() {
    return new XenApiException(
        "OPERATION_NOT_ALLOWED", "A copy to another SR of the same pool is VM.copy.");
  }

  /** The VM stays on its host, and its disks go where they are wanted, one after another. */
  private void moveDisks(Request request, Task task) throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    admission.check(db, request.vm(), VmOperations.MIGRATE_SEND);
    Survey survey = new Survey(Role.SOURCE);
    Map<Ref<VDI>, Ref<SR>> srs = withinPool(survey, db, request);
    refuse(survey.found(), request);
    String bandwidth =
        MoveOptions.withinServer(survey, db, request.vm(), request.options())
            .getOrDefault(MoveLimits.BANDWIDTH, "0");
    for (Map.Entry<Ref<VDI>, Ref<SR>> disk : srs.entrySet()) {
      moves.move(
          disk.getKey(),
          disk.getValue(),
          new DiskMoves.How(request.format(disk.getKey()), Long.parseLong(bandwidth)),
          task);
    }
  }

  /**
   * Moves a running VM, without its disks, to another host of the pool: which has one, so that the
   * VM is there.
   */
  void toHost(Ref<VM> vm, Ref<Host> host, Map<String, String> options, Task task)
      throws XenApiException {
    List<Obstacle> found = surveyToHost(vm, host, options);
    Optional<Obstacle> first = Survey.first(found);
    if (first.isPresent()) {
      throw first.get().toException().toXenApi();
    }
    try (var operation = admission.begin(vm, VmOperations.POOL_MIGRATE, task.ref())) {
      checkHost(database.snapshot(), vm, host);
    }
  }

  /**
   * What stands against {@link #toHost}.
   *
   * @throws XenApiException HANDLE_INVALID for a VM, host or network that is not there
   */
  List<Obstacle> surveyToHost(Ref<VM> vm, Ref<Host> host, Map<String, String> options)
      throws XenApiException {
    Snapshot db = database.snapshot();
    db.get(host, Host.UUID);
    Survey survey = new Survey(Role.SOURCE);
    Map<String, String> all = MoveOptions.withinServer(survey, db, vm, options);
    String network = all.getOrDefault("network", "");
    if (!network.isEmpty()) {
      db.get(new Ref<Network>(network), Network.UUID);
    }
    if ("true".equals(all.get("copy"))) {
      survey.raise(noCopy(), ObstacleKind.COPY_WITHIN_POOL);
    }
    admission(survey, db, vm, VmOperations.POOL_MIGRATE);
    survey.look(
        () -> checkHost(db, vm, host), ObstacleKind.HOST_DISABLED, ObstacleKind.HOST_ELSEWHERE);
    return survey.found();
  }

  private static void checkHost(Snapshot db, Ref<VM> vm, Ref<Host> host) throws XenApiException {
    if (!db.get(host, Host.ENABLED)) {
      throw new XenApiException("HOST_DISABLED", host.opaque());
    }
    boolean runs = db.get(vm, VM.POWER_STATE) == VmPowerState.RUNNING;
    if (runs && !db.get(vm, VM.RESIDENT_ON).equals(host)) {
      throw new XenApiException("HOST_NOT_LIVE", host.opaque());
    }
  }
}
