package io.xenferry.server.migration;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.Host;
import io.xenferry.model.Network;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VbdMode;
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
import io.xenferry.server.vm.VmCheckpoint;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/** Moves VMs for clients: checks a request, builds its plan, and follows the coordinator. */
public final class Migrations {
  private final ObjectDatabase database;
  private final MigrationDisks disks;
  private final Coordinator coordinator;
  private final VmAdmission admission;
  private final MoveAnswers answers;
  private final MoveTasks tasks;
  private final DiskMoves moves;
  private final StrategyChoice strategies;
  private final Note variables;
  private final EjectedCds cds;
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
      StrategyChoice strategies,
      Note variables,
      EjectedCds cds,
      int port) {
    this.cds = cds;
    this.variables = variables;
    this.database = database;
    this.disks = disks;
    this.coordinator = coordinator;
    this.admission = admission;
    this.answers = answers;
    this.tasks = tasks;
    this.moves = moves;
    this.strategies = strategies;
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
   * Every check that can be made without doing anything, here and at the destination; first failure
   * wins.
   */
  void check(Request request) throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    admission.check(db, request.vm(), VmOperations.MIGRATE_SEND);
    if (isWithinPool(db, request)) {
      withinPool(db, request);
      return;
    }
    MoveRequest move = prepare(db, request, Ref.random());
    answers.await(coordinator.check(move), request.vm(), request.destination());
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
      answers.await(
          coordinator.check(prepare(database.snapshot(), request, there)),
          vm,
          request.destination());
      task.throwIfCancelled();
      variables.note(vm);
      cds.eject(vm, task.ref());
      try {
        MoveRequest move = prepare(database.snapshot(), request, there);
        tasks.begins(task, move);
        Coordinator.Started started =
            answers.await(coordinator.start(move), vm, request.destination());
        tasks.follow(started, task, vm, request.destination());
      } finally {
        // Does nothing for one that has moved.
        cds.putBack(vm, task.ref());
      }
    }
    return there;
  }

  /** As published: their memory would be left behind. */
  private static void checkNoCheckpoints(Snapshot db, Ref<VM> vm) throws XenApiException {
    for (Ref<VM> snapshot : db.get(vm, VM.SNAPSHOTS)) {
      if (VmCheckpoint.isOne(db, snapshot)) {
        throw new XenApiException("VM_HAS_CHECKPOINT", vm.opaque());
      }
    }
  }

  private MoveRequest prepare(Snapshot db, Request asked, Ref<VM> there)
      throws XenApiException, InterruptedException {
    Ref<VM> vm = asked.vm();
    Request request = asked.with(MoveOptions.of(db, vm, asked.options()));
    String token =
        request
            .token()
            .orElseThrow(() ->
                answers.failed(
                    vm,
                    request.destination(),
                    "the destination is not a XenFerry server: it knows no commit point, so"
                        + " nothing was begun"));
    Map<Ref<VIF>, String> networks = networks(db, request);
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    boolean suspended = state == VmPowerState.SUSPENDED;
    if (!request.copy()) {
      checkNoCheckpoints(db, vm);
    }
    if (request.copy()
        && state != VmPowerState.HALTED
        && !(suspended && "true".equals(request.options().get("force")))) {
      throw new XenApiException(
          "VM_BAD_POWER_STATE", vm.opaque(), "halted", state.wire().toLowerCase(Locale.ROOT));
    }
    if (suspended) {
      checkSuspendImage(db, vm);
    }
    UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
    boolean running = state == VmPowerState.RUNNING;
    List<Plan.Disk> planned =
        running ? strategies.choose(uuid, request.disks(db)) : request.disks(db);
    if (planned.size() > Plan.MAX_DISKS) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED",
          "the VM and its snapshots have more than " + Plan.MAX_DISKS + " disks");
    }
    requireItsOwn(db, request, planned);
    Map<String, String> options = new LinkedHashMap<>(request.options());
    Formats formats = formats(db, request, planned);
    if (!formats.asked().isEmpty()) {
      options.put(Formats.OPTION, formats.text());
    }
    Layers layers = layers(planned).without(formats.alone());
    if (!layers.below().isEmpty()) {
      options.put(Layers.OPTION, layers.text());
    }
    Plan plan =
        new Plan(
            uuid,
            request.copy() ? UUID.randomUUID() : uuid,
            db.get(vm, VM.NAME_LABEL),
            running ? Plan.Power.RUNNING : suspended ? Plan.Power.SUSPENDED : Plan.Power.HALTED,
            running ? db.get(vm, VM.MEMORY_STATIC_MAX) : 0,
            planned,
            request.copy(),
            KeptVms.asked(request.options()),
            options);
    Optional<Tracking> past =
        request.copy()
            ? Optional.empty()
            : Optional.of(Tracking.of(db, disks, planned, layers.below()));
    return new MoveRequest(plan, VmDocument.of(db, vm, there, networks, past).text(), token);
  }

  /**
   * The disks are the VM's alone: another VM that has one as well would lose it when it moves, and
   * may be writing it while it is copied.
   */
  private void requireItsOwn(Snapshot db, Request request, List<Plan.Disk> planned)
      throws XenApiException {
    Set<Ref<VM>> own = new HashSet<>(VmDocument.snapshots(db, request.vm()));
    own.add(request.vm());
    boolean stays = request.copy() || KeptVms.asked(request.options());
    UUID vm = UUID.fromString(db.get(request.vm(), VM.UUID));
    for (Plan.Disk disk : planned) {
      Ref<VDI> vdi = new Ref<>(db.byUuid("VDI", disk.vdi().toString()).orElseThrow().ref());
      for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
        if (!own.contains(db.get(vbd, VBD.VM))
            && (!stays
                || db.get(vbd, VBD.CURRENTLY_ATTACHED) && db.get(vbd, VBD.MODE) == VbdMode.RW)) {
          throw new XenApiException("VDI_IN_USE", vdi.opaque(), "migrate_send");
        }
      }
      if (!stays) {
        disks.requireUsedOnlyBy(vm, disk.vdi());
      }
    }
  }

  /** What the client wants the disks to be there; the destination knows what its SRs can make. */
  private static Formats formats(Snapshot db, Request request, List<Plan.Disk> planned)
      throws XenApiException {
    Map<UUID, String> asked = new LinkedHashMap<>();
    for (Plan.Disk disk : planned) {
      Ref<VDI> vdi = new Ref<>(db.byUuid("VDI", disk.vdi().toString()).orElseThrow().ref());
      Optional<String> format = request.format(vdi);
      if (format.isPresent()) {
        if (!Formats.isName(format.get())) {
          throw new XenApiException("INVALID_VALUE", "vdi_format_map", format.get());
        }
        asked.put(disk.vdi(), format.get());
      }
    }
    return new Formats(asked);
  }

  /** What rests on what, of disks that go to one SR. */
  private Layers layers(List<Plan.Disk> planned) throws XenApiException {
    Map<UUID, String> srs = new LinkedHashMap<>();
    planned.forEach(disk -> srs.put(disk.vdi(), disk.sr()));
    Map<UUID, UUID> below = new LinkedHashMap<>();
    disks
        .layers(srs.keySet())
        .forEach((upper, lower) -> {
          if (Objects.equals(srs.get(upper), srs.get(lower))) {
            below.put(upper, lower);
          }
        });
    return new Layers(below);
  }

  /** The memory of a suspended VM goes with it. */
  private void checkSuspendImage(Snapshot db, Ref<VM> vm) throws XenApiException {
    Ref<VDI> image = db.get(vm, VM.SUSPEND_VDI);
    if (db.row("VDI", image.opaque()).isEmpty()) {
      throw new XenApiException("VM_HAS_NO_SUSPEND_VDI", vm.opaque());
    }
    try {
      disks.open(UUID.fromString(db.get(image, VDI.UUID))).close();
    } catch (XenApiException e) {
      throw new XenApiException("SUSPEND_IMAGE_NOT_ACCESSIBLE", image.opaque()).withCause(e);
    }
  }

  /** Whether the destination is a host of this pool, which is this one. */
  private boolean isWithinPool(Snapshot db, Request request) {
    return db.row("host", request.dest().getOrDefault("host", "")).isPresent()
        || request.token().map(coordinator::issued).orElse(false);
  }

  /**
   * What the published server would refuse of a move within a pool.
   *
   * @return the SR for each disk of the VM
   */
  private static Map<Ref<VDI>, Ref<SR>> withinPool(Snapshot db, Request asked)
      throws XenApiException {
    Request request = asked.with(MoveOptions.withinServer(db, asked.vm(), asked.options()));
    if (request.copy()) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED", "A copy to another SR of the same pool is VM.copy.");
    }
    Map<Ref<VDI>, Ref<SR>> srs = new LinkedHashMap<>();
    for (GuestSpecs.VmDisk disk : GuestSpecs.disks(db, request.vm())) {
      if (!disk.cd()) {
        String sr = request.vdis().get(disk.vdi().opaque());
        if (sr == null) {
          throw new XenApiException("VDI_NOT_IN_MAP", disk.vdi().opaque());
        }
        srs.put(disk.vdi(), new Ref<>(sr));
      }
    }
    if (!request.vifs().isEmpty()) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED",
          "VIF mapping is not allowed for intra-pool migration: the VIFs stay on their networks.");
    }
    for (Map.Entry<Ref<VDI>, Ref<SR>> disk : srs.entrySet()) {
      MoveChecks.check(db, disk.getKey(), disk.getValue());
      MoveChecks.checkFormat(db, disk.getKey(), disk.getValue(), request.format(disk.getKey()));
    }
    return srs;
  }

  /** The VM stays on its host, and its disks go where they are wanted, one after another. */
  private void moveDisks(Request request, Task task) throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    admission.check(db, request.vm(), VmOperations.MIGRATE_SEND);
    Map<Ref<VDI>, Ref<SR>> srs = withinPool(db, request);
    String bandwidth =
        MoveOptions.withinServer(db, request.vm(), request.options())
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
    Snapshot db = database.snapshot();
    db.get(host, Host.UUID);
    Map<String, String> all = MoveOptions.withinServer(db, vm, options);
    String network = all.getOrDefault("network", "");
    if (!network.isEmpty()) {
      db.get(new Ref<Network>(network), Network.UUID);
    }
    if ("true".equals(all.get("copy"))) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED", "A copy to another SR of the same pool is VM.copy.");
    }
    try (var operation = admission.begin(vm, VmOperations.POOL_MIGRATE, task.ref())) {
      if (!database.snapshot().get(host, Host.ENABLED)) {
        throw new XenApiException("HOST_DISABLED", host.opaque());
      }
      if (!database.snapshot().get(vm, VM.RESIDENT_ON).equals(host)) {
        throw new XenApiException("HOST_NOT_LIVE", host.opaque());
      }
    }
  }

  /** For each VIF the network that was given, for it or for another with the same MAC. */
  private static Map<Ref<VIF>, String> networks(Snapshot db, Request request)
      throws XenApiException {
    Map<String, String> byMac = new LinkedHashMap<>();
    Map<Ref<VIF>, String> networks = new LinkedHashMap<>();
    List<Ref<VIF>> vifs = new ArrayList<>(db.get(request.vm(), VM.VIFS));
    if (!request.copy()) {
      for (Ref<VM> snapshot : VmDocument.snapshots(db, request.vm())) {
        vifs.addAll(db.get(snapshot, VM.VIFS));
      }
    }
    for (Ref<VIF> vif : vifs) {
      String network = request.vifs().get(vif.opaque());
      if (network != null) {
        networks.put(vif, network);
        byMac.put(db.get(vif, VIF.MAC), network);
      }
    }
    for (Ref<VIF> vif : vifs) {
      String network = byMac.get(db.get(vif, VIF.MAC));
      if (network == null) {
        throw new XenApiException("VIF_NOT_IN_MAP", vif.opaque());
      }
      networks.putIfAbsent(vif, network);
    }
    return networks;
  }
}
