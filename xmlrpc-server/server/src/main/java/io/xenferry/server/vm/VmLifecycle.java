package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts, stops and pauses the VMs of this host, and keeps their records in step with the guests.
 * Blocking; the caller gives the task that an operation belongs to.
 */
public final class VmLifecycle {
  private static final Logger log = LoggerFactory.getLogger(VmLifecycle.class);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final Gate gate;
  private final VmDisks disks;
  private final VmAdmission admission;
  private final BootFiles bootFiles;
  private final FirmwareRecords firmware;
  private final GuestRecords records;
  private final HostMemory memory;
  private final GuestWatch watch;
  private final CleanShutdown cleanly;
  private final NextMachine next;
  private final Predicate<UUID> migrating;

  /**
   * @param migrating whether the ledger has an unended row of a VM; its guest is then the
   *     coordinator's alone
   */
  public VmLifecycle(
      ObjectDatabase database,
      Hypervisor hypervisor,
      Gate gate,
      VmDisks disks,
      VmAdmission admission,
      BootFiles bootFiles,
      Ref<Host> host,
      Predicate<UUID> migrating) {
    this.database = database;
    this.hypervisor = hypervisor;
    this.gate = gate;
    this.disks = disks;
    this.admission = admission;
    this.bootFiles = bootFiles;
    this.firmware = new FirmwareRecords(database, bootFiles.variables(), bootFiles.tpms());
    this.records = new GuestRecords(database, disks, admission, firmware, host);
    this.cleanly = new CleanShutdown(database);
    this.memory = new HostMemory(database, host);
    this.next = new NextMachine(database, hypervisor, disks, memory, bootFiles, migrating);
    this.migrating = migrating;
    this.watch =
        new GuestWatch(
            database,
            hypervisor,
            records,
            migrating,
            new AfterEnd(
                database, vm -> start(vm, false, Ref.random().opaque()), System::nanoTime));
  }

  /** Follows the guests. */
  public GuestWatch watch() {
    return watch;
  }

  GuestRecords records() {
    return records;
  }

  /** What of this host's memory VMs were promised. */
  public HostMemory memory() {
    return memory;
  }

  /** What the machines of VMs that run keep. */
  public FirmwareRecords firmware() {
    return firmware;
  }

  /**
   * @throws XenApiException HOST_NOT_ENOUGH_FREE_MEMORY, INVALID_VALUE for a field that no machine
   *     can be built from, what stands against the operation or its disks
   */
  public void start(Ref<VM> vm, boolean paused, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.START, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.START);
        HostMemory.Promise promise = memory.promise(vm)) {
      build(vm, paused, task);
    }
  }

  /** Makes the guest, as the records say; for who may, and has the memory. */
  private void build(Ref<VM> vm, boolean paused, String task) throws XenApiException {
    List<VmDisk> attached = new ArrayList<>();
    try {
      next.choose(vm);
      Snapshot db = database.snapshot();
      GuestSpecs.requireNewMachine(db, vm);
      for (VmDisk disk : GuestSpecs.disks(db, vm)) {
        DiskSharing.check(db, disk.vbd());
        attached.add(disk);
        disks.attach(disk.vdi(), uuid(vm), disk.writable());
        disks.activate(disk.vdi(), uuid(vm));
      }
      Guest guest =
          hypervisor.start(
              GuestSpecs.of(
                  db, vm, (vdi, writable) -> disks.attach(vdi, uuid(vm), writable), bootFiles),
              paused);
      records.booted(vm);
      records.running(vm, paused ? VmPowerState.PAUSED : VmPowerState.RUNNING, guest);
      watch.follow(guest);
    } catch (XenApiException | HypervisorException | InterruptedException e) {
      records.giveBack(vm, attached);
      keepFirmware(vm, e);
      throw translated(e, task);
    }
  }

  /** A guest that could not be started may have run for a moment. */
  private void keepFirmware(Ref<VM> vm, Exception failure) throws XenApiException {
    try {
      if (hypervisor.find(uuid(vm)).isEmpty()) {
        firmware.take(vm);
      }
    } catch (XenApiException | HypervisorException e) {
      log.warn("what the firmware of {} keeps stays beside its record", vm, e);
      failure.addSuppressed(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  public void pause(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.PAUSE, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.PAUSE)) {
      guest(vm).pause();
      records.state(vm, VmPowerState.PAUSED);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  public void unpause(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.UNPAUSE, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.UNPAUSE)) {
      guest(vm).resume();
      records.state(vm, VmPowerState.RUNNING);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  /**
   * Asks the guest, and waits until it has shut down.
   *
   * @param task ends the waiting when it is cancelled, as a hard shutdown or reboot does; the guest
   *     may still heed what it was asked
   */
  public void cleanShutdown(Ref<VM> vm, Task task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.CLEAN_SHUTDOWN, task.ref());
        Gate.Permit permit = gate.enter(uuid(vm), Operation.SHUTDOWN)) {
      Guest guest = guest(vm);
      guest.shutdown();
      cleanly.await(vm, guest, task);
      guest.destroy();
      records.gone(vm, VmPowerState.HALTED);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task.ref());
    }
  }

  /** Ends the guest at once, and whoever waits for it to shut down. */
  public void hardShutdown(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.HARD_SHUTDOWN, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.SHUTDOWN)) {
      if (cleanly.overrule(vm) == VmPowerState.HALTED) {
        return;
      }
      Optional<Guest> guest = hypervisor.find(uuid(vm));
      if (guest.isPresent()) {
        guest.get().destroy();
      }
      records.gone(vm, VmPowerState.HALTED);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  /**
   * Records that a VM is halted whose guest is gone. One that is there is left alone: unlike a
   * record, its disks cannot be freed by a word.
   *
   * @throws XenApiException OPERATION_NOT_ALLOWED while the guest is there
   */
  public void resetPowerState(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.POWER_STATE_RESET, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.DESTROY_VM)) {
      if (hypervisor.find(uuid(vm)).isPresent()) {
        throw new XenApiException(
            "OPERATION_NOT_ALLOWED", "the guest of the VM is there: end it by a hard shutdown");
      }
      if (database.snapshot().get(vm, VM.POWER_STATE) != VmPowerState.HALTED) {
        records.gone(vm, VmPowerState.HALTED);
      }
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  /**
   * Lets the guest shut down and run again, without its process's end or a moment in which others
   * could have its disks; but for a machine that {@link NextMachine#isOutdated is outdated}.
   *
   * @param task ends the waiting when it is cancelled, as a hard shutdown or reboot does; the guest
   *     may still heed what it was asked, and is then dealt with as one that shuts down by itself
   */
  public void cleanReboot(Ref<VM> vm, Task task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.CLEAN_REBOOT, task.ref());
        Gate.Permit permit = gate.enter(uuid(vm), Operation.RESET)) {
      Guest guest = guest(vm);
      if (next.isOutdated(vm, guest)) {
        next.require(vm);
      }
      guest.shutdown();
      cleanly.await(vm, guest, task);
      try (NextMachine.Prepared machine = preparedOrTheSame(vm, guest)) {
        begin(vm, guest, machine, task.ref());
      }
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task.ref());
    }
  }

  /** A guest that has shut down must boot again, as whatever. */
  private NextMachine.Prepared preparedOrTheSame(Ref<VM> vm, Guest guest)
      throws InterruptedException {
    try {
      return next.prepare(vm, guest);
    } catch (XenApiException | HypervisorException | RuntimeException e) {
      log.warn("VM {} cannot be made anew as it is set by now: it boots as it was", vm, e);
      return NextMachine.THE_SAME;
    }
  }

  /**
   * Goes on with a reboot that a server before this one began; the guest was asked by that.
   *
   * @param task whose operation on the VM {@link VmAdmission#goesOn goes on}
   */
  void finishReboot(Ref<VM> vm, Task task) throws XenApiException {
    try (Gate.Permit permit = gate.enter(uuid(vm), Operation.RESET)) {
      Guest guest = guest(vm);
      if (guest.state() == Guest.State.PAUSED) {
        // Reset already, and not yet told to run.
        task.cancellable(false);
        guest.resume();
      } else {
        cleanly.await(vm, guest, task);
        guest.restart();
      }
      records.booted(vm);
      records.state(vm, VmPowerState.RUNNING);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task.ref());
    }
  }

  /**
   * Resets the guest at once, and ends the waiting of whoever waits for it to shut down. A machine
   * that {@link NextMachine#isOutdated is outdated} is made anew instead; if that cannot be,
   * nothing is done, and nobody's waiting ends.
   */
  public void hardReboot(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.HARD_REBOOT, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.RESET)) {
      Optional<Guest> before = hypervisor.find(uuid(vm));
      try (NextMachine.Prepared machine =
          before.isPresent() ? next.prepare(vm, before.get()) : NextMachine.THE_SAME) {
        if (cleanly.overrule(vm) == VmPowerState.HALTED) {
          throw new XenApiException("VM_BAD_POWER_STATE", vm.opaque(), "running, paused", "halted");
        }
        begin(vm, guest(vm), machine, task);
      }
    } catch (HypervisorException e) {
      throw whileItMoves(vm, e).orElseGet(() -> translated(e, task));
    } catch (InterruptedException e) {
      throw translated(e, task);
    }
  }

  private void begin(Ref<VM> vm, Guest guest, NextMachine.Prepared machine, String task)
      throws XenApiException, HypervisorException, InterruptedException {
    if (!machine.isAnother()) {
      guest.restart();
      records.booted(vm);
      records.state(vm, VmPowerState.RUNNING);
      return;
    }
    log.info("VM {} is another machine by now than it started as: that is made anew", guest.vm());
    guest.destroy();
    records.gone(vm, VmPowerState.HALTED);
    build(vm, false, task);
  }

  /** A guest that a move has paused for its switch refuses what it allows before. */
  private Optional<XenApiException> whileItMoves(Ref<VM> vm, HypervisorException e)
      throws XenApiException {
    if (e.kind() != HypervisorException.Kind.REFUSED) {
      return Optional.empty();
    }
    for (var operation : database.snapshot().get(vm, VM.CURRENT_OPERATIONS).entrySet()) {
      if (operation.getValue() == VmOperations.MIGRATE_SEND) {
        return Optional.of(
            new XenApiException(
                    "OTHER_OPERATION_IN_PROGRESS",
                    "VM",
                    vm.opaque(),
                    VmOperations.MIGRATE_SEND.wire(),
                    operation.getKey())
                .withCause(e));
      }
    }
    return Optional.empty();
  }

  /**
   * Brings records and guests together, after a start of the server. VMs whose ownership the ledger
   * has not settled are left alone.
   */
  public void reconcile() throws XenApiException, InterruptedException {
    admission.forgetAll();
    try {
      watch.reconcileAll();
      for (UUID uuid : firmware.present()) {
        settleFirmware(uuid);
      }
    } catch (HypervisorException e) {
      throw translated(e, "");
    }
  }

  /** What a server before this one had no time to put into the record, or to remove. */
  private void settleFirmware(UUID uuid) throws HypervisorException, InterruptedException {
    if (migrating.test(uuid) || hypervisor.find(uuid).isPresent()) {
      return;
    }
    Optional<Row> row = database.snapshot().byUuid("VM", uuid.toString());
    if (row.isEmpty()) {
      firmware.discardOrWarn(uuid);
      return;
    }
    try {
      firmware.take(new Ref<>(row.get().ref()));
    } catch (XenApiException e) {
      log.warn("what the firmware of VM {} keeps stays beside its record", uuid, e);
    }
  }

  /** A VM that has just become this host's: records whether its guest runs, and follows it. */
  public void arrived(Ref<VM> vm)
      throws XenApiException, HypervisorException, InterruptedException {
    watch.arrived(vm);
  }

  /**
   * Makes the machine of a VM that comes here to boot, standing still before its first instruction.
   * The VM's record says nothing of it before it has {@link #arrived}.
   *
   * @throws XenApiException as {@link #start}
   */
  public void makeMachine(Ref<VM> vm) throws XenApiException {
    try {
      Snapshot db = database.snapshot();
      for (VmDisk disk : GuestSpecs.disks(db, vm)) {
        disks.attach(disk.vdi(), uuid(vm), disk.writable());
        disks.activate(disk.vdi(), uuid(vm));
      }
      hypervisor.start(spec(vm), true);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, "");
    }
  }

  /** Notes that a VM has booted here just now. */
  public void booted(Ref<VM> vm) throws XenApiException {
    records.booted(vm);
  }

  /**
   * Boots a guest again that has shut down for a move which has come to nothing, in its process.
   * One that runs goes on; one that has panicked, or whose process is gone, is dealt with as its
   * VM's actions say. The gate has been asked.
   *
   * @param seenHere whether this server has seen it run
   */
  public void bootAgain(UUID uuid, boolean seenHere)
      throws XenApiException, HypervisorException, InterruptedException {
    Optional<Row> row = database.snapshot().byUuid("VM", uuid.toString());
    if (row.isEmpty()) {
      return;
    }
    Ref<VM> vm = new Ref<>(row.get().ref());
    Optional<Guest> guest = hypervisor.find(uuid);
    Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
    if (state == Guest.State.SHUTDOWN) {
      log.info("VM {} has shut down for its move, which has come to nothing: it boots again", uuid);
      guest.orElseThrow().restart();
      records.booted(vm);
      records.state(vm, VmPowerState.RUNNING);
    } else if (GuestWatch.hasEnded(state)) {
      watch.stayed(vm, seenHere);
    }
  }

  /** What guests of this host begin with. */
  public BootFiles bootFiles() {
    return bootFiles;
  }

  /** Lets the guest of a VM use its disks, which {@link #arriving} has attached. */
  public void activateDisks(Ref<VM> vm) throws XenApiException {
    Snapshot db = database.snapshot();
    for (VmDisk disk : GuestSpecs.disks(db, vm)) {
      if (db.get(disk.vbd(), VBD.CURRENTLY_ATTACHED)) {
        disks.activate(disk.vdi(), uuid(vm));
      }
    }
  }

  /** The same as {@link #spec} of a VM that runs elsewhere and comes here as its records say. */
  public GuestSpec arriving(Ref<VM> vm) throws XenApiException {
    UUID uuid = uuid(vm);
    return GuestSpecs.running(
        database.snapshot(), vm, (vdi, writable) -> disks.attach(vdi, uuid, writable), bootFiles);
  }

  /**
   * The same of a VM that was suspended, whose disks are attached for it but not yet activated.
   *
   * @param machine that it was then; empty where that is not known
   */
  GuestSpec resuming(Ref<VM> vm, Optional<BuiltMachine> machine) throws XenApiException {
    UUID uuid = uuid(vm);
    return GuestSpecs.suspended(
        database.snapshot(),
        vm,
        (vdi, writable) -> disks.attach(vdi, uuid, writable),
        bootFiles,
        machine);
  }

  /** What the hypervisor needs to start the VM, whose disks are attached but not yet activated. */
  private GuestSpec spec(Ref<VM> vm) throws XenApiException {
    UUID uuid = uuid(vm);
    return GuestSpecs.of(
        database.snapshot(), vm, (vdi, writable) -> disks.attach(vdi, uuid, writable), bootFiles);
  }

  private Guest guest(Ref<VM> vm)
      throws XenApiException, HypervisorException, InterruptedException {
    UUID uuid = uuid(vm);
    return hypervisor
        .find(uuid)
        .orElseThrow(() ->
            new HypervisorException(
                HypervisorException.Kind.GONE, "the guest of VM " + uuid + " is gone"));
  }

  private UUID uuid(Ref<VM> vm) throws XenApiException {
    return UUID.fromString(database.snapshot().get(vm, VM.UUID));
  }

  static XenApiException translated(Exception e, String task) {
    if (e instanceof XenApiException known) {
      return known;
    }
    if (e instanceof InterruptedException) {
      Thread.currentThread().interrupt();
      return new XenApiException("TASK_CANCELLED", task).withCause(e);
    }
    return e instanceof HypervisorException refused
        ? failed(refused)
        : new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
  }

  /** INVALID_VALUE where the VM's record is to blame, else INTERNAL_ERROR. */
  static XenApiException failed(HypervisorException e) {
    XenApiException failure =
        e.field().isEmpty()
            ? new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage()))
            : new XenApiException("INVALID_VALUE", e.field(), e.value());
    return failure.withCause(e);
  }
}
