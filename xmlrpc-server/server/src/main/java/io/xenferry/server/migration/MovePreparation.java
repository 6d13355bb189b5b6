package io.xenferry.server.migration;

import io.xenferry.block.BlockBackend;
import io.xenferry.copy.Strategy;
import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MoveLimits;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.WarmMove;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VbdMode;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.vm.BuiltMachine;
import io.xenferry.server.vm.VmCheckpoint;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.net.InetAddress;
import java.time.Duration;
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
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A client's request as the coordinator needs it, and on the way everything of this host that
 * stands against the move. What an obstacle concerns is left out of the plan, so that the
 * destination can be asked about the rest.
 */
final class MovePreparation {
  /** How long the rest of the disks of a warm move may take, where nobody says. */
  private static final Duration WARM_REST = Duration.ofSeconds(5);

  private static final Logger log = LoggerFactory.getLogger(MovePreparation.class);

  private final MigrationDisks disks;
  private final StrategyChoice strategies;
  private final MoveAnswers answers;
  private final Alerts alerts;
  private final Hypervisor hypervisor;

  MovePreparation(
      MigrationDisks disks,
      StrategyChoice strategies,
      MoveAnswers answers,
      Alerts alerts,
      Hypervisor hypervisor) {
    this.alerts = alerts;
    this.hypervisor = hypervisor;
    this.disks = disks;
    this.strategies = strategies;
    this.answers = answers;
  }

  /**
   * Looks at everything here, and changes nothing.
   *
   * @param there what the VM's reference shall be at the destination
   * @return what the coordinator needs; it is good for a move only if the survey has found nothing.
   *     Empty where there is nothing to ask a destination about
   * @throws XenApiException HANDLE_INVALID for a VM that is gone
   */
  Optional<MoveRequest> prepare(Survey survey, Snapshot db, Request asked, Ref<VM> there)
      throws XenApiException, InterruptedException {
    Ref<VM> vm = asked.vm();
    UUID uuid = UUID.fromString(db.get(vm, VM.UUID));
    Request request = asked.with(MoveOptions.of(survey, db, vm, asked.options()));
    Optional<String> token = request.token();
    if (token.isEmpty()) {
      survey.raise(
          answers.failed(
              vm,
              request.destination(),
              "the destination is not a XenFerry server: it knows no commit point, so nothing was"
                  + " begun"),
          ObstacleKind.FOREIGN_DESTINATION);
    }
    if (!"true".equals(request.options().get("force"))) {
      survey.look(() -> checkOutside(db, request), ObstacleKind.DESTINATION_IN_VM);
    }
    Map<Ref<VIF>, String> networks = networks(survey, db, request);
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    checkState(survey, db, request, state);
    boolean running = state == VmPowerState.RUNNING && !request.copy();
    boolean warm = running && WarmMove.WARM.equals(request.options().get(WarmMove.MODE));
    List<Plan.Disk> planned = disks(survey, db, request, uuid, running, warm);
    Map<String, String> options = new LinkedHashMap<>(request.options());
    if (warm) {
      survey.look(() -> checkFirmware(db, vm), ObstacleKind.WARM_FIRMWARE);
      // A reboot takes longer than this: the guest need not be slowed for less.
      options.putIfAbsent(MoveLimits.DOWNTIME, Long.toString(WARM_REST.toMillis()));
    }
    Formats formats = formats(survey, db, request, planned);
    if (!formats.asked().isEmpty()) {
      options.put(Formats.OPTION, formats.text());
    }
    Layers layers =
        survey
            .ask(() -> layers(planned), ObstacleKind.SOURCE_SR_DETACHED)
            .orElseGet(() -> new Layers(Map.of()))
            .without(formats.alone());
    if (!layers.below().isEmpty()) {
      options.put(Layers.OPTION, layers.text());
    }
    if (options.containsKey(Lineages.OPTION) && !asked.options().containsKey(Lineages.OPTION)) {
      options.put(Lineages.DEFAULT, "true");
    }
    Lineages.put(db, planned, layers, options);
    VmMessages messages =
        request.copy() ? VmMessages.NONE : VmMessages.about(VmMessages.objects(db, vm), alerts);
    Plan plan =
        new Plan(
            uuid,
            request.copy() ? UUID.randomUUID() : uuid,
            db.get(vm, VM.NAME_LABEL),
            running ? Plan.Power.RUNNING : still(planned),
            running ? db.get(vm, VM.MEMORY_STATIC_MAX) : 0,
            planned,
            request.copy(),
            KeptVms.asked(request.options()),
            options);
    Optional<Tracking> past =
        request.copy()
            ? Optional.empty()
            : survey
                .ask(
                    () -> Tracking.of(db, disks, planned, layers.below()),
                    ObstacleKind.SOURCE_SR_DETACHED)
                .or(() -> Optional.of(Tracking.NONE));
    Optional<BuiltMachine> machine = warm ? Optional.empty() : machine(db, vm, plan.power());
    String document = VmDocument.of(db, vm, there, networks, past, machine, messages).text();
    return token.map(t -> new MoveRequest(plan, document, t));
  }

  /**
   * What UEFI firmware and TPM keep may change until the guest has shut down, and goes with the
   * records, which the destination has by then.
   */
  private static void checkFirmware(Snapshot db, Ref<VM> vm) throws XenApiException {
    String kept = "";
    if (!db.get(vm, VM.VTPMS).isEmpty()) {
      kept = "a TPM";
    } else if ("uefi".equals(db.get(vm, VM.HVM_BOOT_PARAMS).get("firmware"))) {
      kept = "UEFI variables";
    }
    if (!kept.isEmpty()) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED",
          "the VM has "
              + kept
              + ", and what changes there until it has shut down would not go with"
              + " it ("
              + WarmMove.MODE
              + "="
              + WarmMove.WARM
              + ")");
    }
  }

  /** No mirror is of use while a guest shuts down. */
  private static Plan.Disk copiedInPasses(Plan.Disk disk) {
    boolean mirrored =
        disk.strategy().equals(Strategy.AUTO.word())
            || disk.strategy().equals(Strategy.MIRROR.word());
    return mirrored
        ? new Plan.Disk(
            disk.vdi(),
            disk.device(),
            disk.size(),
            disk.sr(),
            Strategy.LOG_DIRTY.word(),
            disk.readOnly())
        : disk;
  }

  /** A suspended VM whose memory cannot go with it is one more halted VM to the destination. */
  private static Plan.Power still(List<Plan.Disk> planned) {
    return planned.stream().anyMatch(disk -> disk.device().equals(Plan.SUSPEND))
        ? Plan.Power.SUSPENDED
        : Plan.Power.HALTED;
  }

  /** A guest that stands still for its switch cannot answer as the destination. */
  private static void checkOutside(Snapshot db, Request request) throws XenApiException {
    Optional<InetAddress> there =
        request.token().flatMap(MoveAnswers::address).flatMap(GuestAddresses::literal);
    if (db.get(request.vm(), VM.POWER_STATE) == VmPowerState.RUNNING
        && there.isPresent()
        && GuestAddresses.of(db, request.vm()).contains(there.get())) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED",
          "the destination's server has an address of the VM itself, "
              + there.get().getHostAddress());
    }
  }

  private void checkState(Survey survey, Snapshot db, Request request, VmPowerState state)
      throws XenApiException {
    Ref<VM> vm = request.vm();
    boolean suspended = state == VmPowerState.SUSPENDED;
    if (!request.copy()) {
      survey.look(() -> checkNoCheckpoints(db, vm), ObstacleKind.VM_CHECKPOINT);
    }
    if (request.copy()
        && state != VmPowerState.HALTED
        && !(suspended && "true".equals(request.options().get("force")))) {
      survey.raise(
          new XenApiException(
              "VM_BAD_POWER_STATE", vm.opaque(), "halted", state.wire().toLowerCase(Locale.ROOT)),
          ObstacleKind.VM_NOT_HALTED_FOR_COPY);
    }
    if (suspended) {
      survey.look(
          () -> checkSuspendImage(db, vm),
          ObstacleKind.VM_WITHOUT_MEMORY,
          ObstacleKind.SUSPEND_IMAGE);
    }
  }

  /** As published: their memory would be left behind. */
  private static void checkNoCheckpoints(Snapshot db, Ref<VM> vm) throws XenApiException {
    for (Ref<VM> snapshot : db.get(vm, VM.SNAPSHOTS)) {
      if (VmCheckpoint.isOne(db, snapshot)) {
        throw new XenApiException("VM_HAS_CHECKPOINT", vm.opaque());
      }
    }
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

  /** That of the guest itself, whatever its record says by now. */
  private Optional<BuiltMachine> machine(Snapshot db, Ref<VM> vm, Plan.Power power)
      throws XenApiException, InterruptedException {
    try {
      return switch (power) {
        case RUNNING ->
            hypervisor
                .find(UUID.fromString(db.get(vm, VM.UUID)))
                .map(guest -> BuiltMachine.of(guest.hardware().spec()));
        case SUSPENDED -> {
          Ref<VDI> image = db.get(vm, VM.SUSPEND_VDI);
          try (BlockBackend disk = disks.open(UUID.fromString(db.get(image, VDI.UUID)))) {
            yield BuiltMachine.of(disk);
          }
        }
        case HALTED -> Optional.empty();
      };
    } catch (HypervisorException e) {
      // By its record alone the destination might make another machine than it runs on.
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    } catch (XenApiException | IOException e) {
      // It cannot go on: that is for others to tell, who look for it.
      log.info("the machine of {} is not known", vm, e);
      return Optional.empty();
    }
  }

  /** Those that can be planned. */
  private List<Plan.Disk> disks(
      Survey survey, Snapshot db, Request request, UUID vm, boolean running, boolean warm)
      throws XenApiException, InterruptedException {
    List<Plan.Disk> planned = request.disks(survey, db);
    if (planned.size() > Plan.MAX_DISKS) {
      survey.raise(
          new XenApiException(
              "OPERATION_NOT_ALLOWED",
              "the VM and its snapshots have more than " + Plan.MAX_DISKS + " disks"),
          ObstacleKind.DISKS_TOO_MANY);
      planned = planned.subList(0, Plan.MAX_DISKS);
    }
    if (running) {
      planned = strategies.choose(survey, vm, planned);
    }
    if (warm) {
      planned = planned.stream().map(MovePreparation::copiedInPasses).toList();
    }
    for (Plan.Disk disk : planned) {
      if (running && disk.strategy().equals(Strategy.SNAPSHOT.word())) {
        survey.look(
            () -> disks.requireRoomToWrite(disk.vdi()),
            ObstacleKind.SOURCE_SR_FULL,
            ObstacleKind.SOURCE_SR_DETACHED);
      }
      survey.look(
          () -> requireItsOwn(db, request, disk),
          ObstacleKind.DISK_SHARED,
          ObstacleKind.SOURCE_SR_DETACHED);
    }
    return planned;
  }

  /**
   * The disk is the VM's alone: another VM that has it as well would lose it when it moves, and may
   * be writing it while it is copied.
   */
  private void requireItsOwn(Snapshot db, Request request, Plan.Disk disk) throws XenApiException {
    Set<Ref<VM>> own = new HashSet<>(VmDocument.snapshots(db, request.vm()));
    own.add(request.vm());
    boolean stays = request.copy() || KeptVms.asked(request.options());
    Ref<VDI> vdi = vdi(db, disk);
    for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
      if (!own.contains(db.get(vbd, VBD.VM))
          && (!stays
              || db.get(vbd, VBD.CURRENTLY_ATTACHED) && db.get(vbd, VBD.MODE) == VbdMode.RW)) {
        throw new XenApiException("VDI_IN_USE", vdi.opaque(), "migrate_send");
      }
    }
    if (!stays) {
      disks.requireUsedOnlyBy(UUID.fromString(db.get(request.vm(), VM.UUID)), disk.vdi());
    }
  }

  private static Ref<VDI> vdi(Snapshot db, Plan.Disk disk) {
    return new Ref<>(db.byUuid("VDI", disk.vdi().toString()).orElseThrow().ref());
  }

  /** What the client wants the disks to be there; the destination knows what its SRs can make. */
  private static Formats formats(
      Survey survey, Snapshot db, Request request, List<Plan.Disk> planned) {
    Map<UUID, String> asked = new LinkedHashMap<>();
    for (Plan.Disk disk : planned) {
      Optional<String> format = request.format(vdi(db, disk));
      if (format.isPresent() && Formats.isName(format.get())) {
        asked.put(disk.vdi(), format.get());
      } else if (format.isPresent()) {
        survey.raise(
            new XenApiException("INVALID_VALUE", "vdi_format_map", format.get()),
            ObstacleKind.BAD_FORMAT);
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

  /** For each VIF the network that was given, for it or for another with the same MAC. */
  private static Map<Ref<VIF>, String> networks(Survey survey, Snapshot db, Request request)
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
        survey.raise(
            new XenApiException("VIF_NOT_IN_MAP", vif.opaque()), ObstacleKind.VIF_WITHOUT_NETWORK);
      } else {
        networks.putIfAbsent(vif, network);
      }
    }
    return networks;
  }
}
