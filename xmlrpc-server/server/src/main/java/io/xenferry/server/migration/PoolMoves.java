package io.xenferry.server.migration;

import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MoveLimits;
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
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.storage.DiskMoves;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.storage.MoveChecks;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.VmAdmission;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Moves within the pool, which has one host: the VM stays on it, and its disks may go. */
final class PoolMoves {
  private final ObjectDatabase database;
  private final MigrationDisks disks;
  private final VmAdmission admission;
  private final MoveAnswers answers;
  private final DiskMoves moves;

  PoolMoves(
      ObjectDatabase database,
      MigrationDisks disks,
      VmAdmission admission,
      MoveAnswers answers,
      DiskMoves moves) {
    this.database = database;
    this.disks = disks;
    this.admission = admission;
    this.answers = answers;
    this.moves = moves;
  }

  /**
   * What the published server would refuse of a move within a pool, and what the disks' own moves
   * would.
   *
   * @return the SR for each disk of the VM
   */
  Map<Ref<VDI>, Ref<SR>> survey(Survey survey, Snapshot db, Request asked) throws XenApiException {
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
  void move(Request request, Task task) throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    admission.check(db, request.vm(), VmOperations.MIGRATE_SEND);
    Survey survey = new Survey(Role.SOURCE);
    Map<Ref<VDI>, Ref<SR>> srs = survey(survey, db, request);
    answers.refuse(survey.found(), request.vm(), request.destination());
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
    Migrations.survey(admission, survey, db, vm, VmOperations.POOL_MIGRATE);
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
