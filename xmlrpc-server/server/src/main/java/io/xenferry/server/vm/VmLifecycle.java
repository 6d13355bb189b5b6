package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.vm.GuestSpecs.VmDisk;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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

  /** How long a guest may take to shut down when asked; the published server's default. */
  private static final Duration CLEAN_SHUTDOWN = Duration.ofMinutes(20);

  private static final Duration LOOK = Duration.ofMillis(50);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final Gate gate;
  private final VmDisks disks;
  private final VmAdmission admission;
  private final BootFiles bootFiles;
  private final Ref<Host> host;
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
    this.host = host;
    this.migrating = migrating;
  }

  public void start(Ref<VM> vm, boolean paused, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.START, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.START)) {
      List<VmDisk> attached = new ArrayList<>();
      try {
        chooseMachine(vm);
        Snapshot db = database.snapshot();
        for (VmDisk disk : GuestSpecs.disks(db, vm)) {
          attached.add(disk);
          disks.attach(disk.vdi(), uuid(vm), disk.writable());
          disks.activate(disk.vdi(), uuid(vm));
        }
        Guest guest =
            hypervisor.start(
                GuestSpecs.of(
                    db, vm, (vdi, writable) -> disks.attach(vdi, uuid(vm), writable), bootFiles),
                paused);
        recordBooted(vm);
        recordRunning(vm, paused ? VmPowerState.PAUSED : VmPowerState.RUNNING);
        watch(guest);
      } catch (XenApiException | HypervisorException | InterruptedException e) {
        giveBack(vm, attached);
        throw translated(e, task);
      }
    }
  }

  public void pause(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.PAUSE, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.SHUTDOWN)) {
      guest(vm).pause();
      recordState(vm, VmPowerState.PAUSED);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  public void unpause(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.UNPAUSE, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.UNPAUSE)) {
      guest(vm).resume();
      recordState(vm, VmPowerState.RUNNING);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  /** Asks the guest, and waits until it has shut down. */
  public void cleanShutdown(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.CLEAN_SHUTDOWN, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.SHUTDOWN)) {
      Guest guest = guest(vm);
      guest.shutdown();
      long end = System.nanoTime() + CLEAN_SHUTDOWN.toNanos();
      while (guest.state() != Guest.State.SHUTDOWN && guest.state() != Guest.State.GONE) {
        if (System.nanoTime() - end > 0) {
          throw new XenApiException(
              "VM_SHUTDOWN_TIMEOUT", "VM", vm.opaque(), Long.toString(CLEAN_SHUTDOWN.toSeconds()));
        }
        Thread.sleep(LOOK);
      }
      guest.destroy();
      halted(vm);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  public void hardShutdown(Ref<VM> vm, String task) throws XenApiException {
    try (var operation = admission.begin(vm, VmOperations.HARD_SHUTDOWN, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.SHUTDOWN)) {
      Optional<Guest> guest = hypervisor.find(uuid(vm));
      if (guest.isPresent()) {
        guest.get().destroy();
      }
      halted(vm);
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  /** Resets the guest; {@code clean} lets it shut down first and then starts it again. */
  public void reboot(Ref<VM> vm, boolean clean, String task) throws XenApiException {
    if (clean) {
      cleanShutdown(vm, task);
      start(vm, false, task);
      return;
    }
    try (var operation = admission.begin(vm, VmOperations.HARD_REBOOT, task);
        Gate.Permit permit = gate.enter(uuid(vm), Operation.RESET)) {
      guest(vm).reset();
    } catch (HypervisorException | InterruptedException e) {
      throw translated(e, task);
    }
  }

  /**
   * Brings records and guests together: after a start of the server, after a migration, when a
   * guest was seen to change. VMs whose ownership the ledger has not settled are left alone.
   */
  public void reconcile() throws XenApiException, InterruptedException {
    admission.forgetAll();
    try {
      for (Guest guest : hypervisor.guests()) {
        watch(guest);
      }
    } catch (HypervisorException e) {
      throw translated(e, "");
    }
    for (Row row : database.snapshot().rows("VM")) {
      reconcile(new Ref<>(row.ref()));
    }
  }

  /** The same for one VM. */
  public void reconcile(Ref<VM> vm) {
    try {
      Snapshot db = database.snapshot();
      if (db.row("VM", vm.opaque()).isEmpty()
          || db.get(vm, VM.IS_CONTROL_DOMAIN)
          || db.get(vm, VM.IS_A_TEMPLATE)
          || migrating.test(uuid(vm))) {
        return;
      }
      Optional<Guest> guest = hypervisor.find(uuid(vm));
      Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
      VmPowerState recorded = db.get(vm, VM.POWER_STATE);
      switch (state) {
        case RUNNING -> recordIfOther(vm, recorded, VmPowerState.RUNNING);
        case PAUSED, PRE_SWITCHOVER, SENT, RECEIVED ->
            recordIfOther(vm, recorded, VmPowerState.PAUSED);
        case INCOMING -> log.info("the guest of {} still waits for a memory stream", vm);
        case SHUTDOWN, GONE -> recordEnded(vm, guest);
      }
    } catch (XenApiException | HypervisorException e) {
      log.warn("the record of {} could not be brought up to date", vm, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * A move has come to nothing and the VM is this host's: records it as halted if its guest ended
   * meanwhile. Its migration may still be telling the destination.
   */
  public void stayed(Ref<VM> vm) {
    try {
      if (database.snapshot().row("VM", vm.opaque()).isEmpty()) {
        return;
      }
      Optional<Guest> guest = hypervisor.find(uuid(vm));
      Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
      if (state == Guest.State.GONE || state == Guest.State.SHUTDOWN) {
        recordEnded(vm, guest);
      }
    } catch (XenApiException | HypervisorException e) {
      log.warn("whether the guest of {} still runs is not known", vm, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void recordEnded(Ref<VM> vm, Optional<Guest> guest)
      throws XenApiException, HypervisorException, InterruptedException {
    if (guest.isPresent()) {
      guest.get().destroy();
    }
    VmPowerState recorded = database.snapshot().get(vm, VM.POWER_STATE);
    if (recorded == VmPowerState.RUNNING || recorded == VmPowerState.PAUSED) {
      halted(vm);
    }
  }

  private void recordIfOther(Ref<VM> vm, VmPowerState recorded, VmPowerState seen)
      throws XenApiException {
    if (recorded == VmPowerState.HALTED) {
      recordRunning(vm, seen);
    } else if (recorded != seen) {
      recordState(vm, seen);
    }
  }

  /** Follows what the guest does by itself. */
  public void watch(Guest guest) {
    guest.onChange(state -> {
      if (state == Guest.State.SHUTDOWN || state == Guest.State.GONE) {
        Thread.ofVirtual().name("guest of " + guest.vm() + " ended").start(() -> ended(guest.vm()));
      }
    });
  }

  private void ended(UUID uuid) {
    database
        .snapshot()
        .byUuid("VM", uuid.toString())
        .map(row -> new Ref<VM>(row.ref()))
        .ifPresent(vm -> {
          try {
            if (database.snapshot().get(vm, VM.CURRENT_OPERATIONS).isEmpty()) {
              reconcile(vm);
            }
          } catch (XenApiException e) {
            log.debug("{} is gone", vm, e);
          }
        });
  }

  /** Keeps with the VM, from its first start on, what its machine is; what is set stays. */
  private void chooseMachine(Ref<VM> vm)
      throws XenApiException, HypervisorException, InterruptedException {
    Map<String, String> machine = hypervisor.newMachine();
    if (!database.snapshot().get(vm, VM.PLATFORM).keySet().containsAll(machine.keySet())) {
      database.change(tx -> {
        Map<String, String> platform = new LinkedHashMap<>(machine);
        platform.putAll(tx.get(vm, VM.PLATFORM));
        tx.set(vm, VM.PLATFORM, platform);
      });
    }
  }

  /** What the guest finds when it looks at its processor; a move must not change it. */
  private void recordBooted(Ref<VM> vm) throws XenApiException {
    database.change(tx -> {
      String vendor = tx.get(host, Host.CPU_INFO).getOrDefault(VmRecords.CPU_VENDOR, "");
      tx.set(vm, VM.LAST_BOOT_CPU_FLAGS, Map.of(VmRecords.CPU_VENDOR, vendor));
    });
  }

  /** Records that the guest is up, here. */
  public void recordRunning(Ref<VM> vm, VmPowerState state) throws XenApiException {
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, state);
      tx.set(vm, VM.RESIDENT_ON, host);
      tx.set(vm, VM.DOMID, nextDomid(tx));
      attached(tx, vm, true);
      admission.refresh(tx, vm);
    });
  }

  private static long nextDomid(Transaction tx) throws XenApiException {
    long highest = 0;
    for (Row row : tx.rows("VM")) {
      highest = Math.max(highest, tx.get(new Ref<VM>(row.ref()), VM.DOMID));
    }
    return highest + 1;
  }

  private static void attached(Transaction tx, Ref<VM> vm, boolean attached)
      throws XenApiException {
    for (Ref<VBD> vbd : tx.get(vm, VM.VBDS)) {
      tx.set(vbd, VBD.CURRENTLY_ATTACHED, attached && !tx.get(vbd, VBD.EMPTY));
      if (attached) {
        tx.set(
            vbd,
            VBD.DEVICE,
            GuestSpecs.device(tx.get(vbd, VBD.DEVICE), tx.get(vbd, VBD.USERDEVICE)));
      }
    }
    for (Ref<VIF> vif : tx.get(vm, VM.VIFS)) {
      tx.set(vif, VIF.CURRENTLY_ATTACHED, attached);
    }
  }

  private void recordState(Ref<VM> vm, VmPowerState state) throws XenApiException {
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, state);
      admission.refresh(tx, vm);
    });
  }

  /** Records that no guest is here, and gives the disks back. */
  private void halted(Ref<VM> vm) throws XenApiException {
    giveBack(vm, GuestSpecs.disks(database.snapshot(), vm));
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, VmPowerState.HALTED);
      tx.set(vm, VM.RESIDENT_ON, Ref.nullRef());
      tx.set(vm, VM.DOMID, -1L);
      attached(tx, vm, false);
      admission.refresh(tx, vm);
    });
  }

  private void giveBack(Ref<VM> vm, List<VmDisk> attached) throws XenApiException {
    for (VmDisk disk : attached) {
      try {
        disks.detach(disk.vdi(), uuid(vm));
      } catch (XenApiException e) {
        log.warn("disk {} of {} could not be given back", disk.vdi(), vm, e);
      }
    }
  }

  /** A VM that has just become this host's: records whether its guest runs, and follows it. */
  public void arrived(Ref<VM> vm)
      throws XenApiException, HypervisorException, InterruptedException {
    Optional<Guest> guest = hypervisor.find(uuid(vm));
    Guest.State state = guest.isPresent() ? guest.get().state() : Guest.State.GONE;
    if (state == Guest.State.GONE || state == Guest.State.SHUTDOWN) {
      if (guest.isPresent()) {
        guest.get().destroy();
      }
      halted(vm);
    } else {
      recordRunning(vm, state == Guest.State.RUNNING ? VmPowerState.RUNNING : VmPowerState.PAUSED);
      watch(guest.orElseThrow());
    }
  }

  /** Lets the guest of a VM use its disks, which {@link #spec} has attached. */
  public void activateDisks(Ref<VM> vm) throws XenApiException {
    for (VmDisk disk : GuestSpecs.disks(database.snapshot(), vm)) {
      disks.activate(disk.vdi(), uuid(vm));
    }
  }

  /**
   * What the hypervisor needs for the VM, whose disks are attached for it but not yet activated.
   */
  public GuestSpec spec(Ref<VM> vm) throws XenApiException {
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

  private static XenApiException translated(Exception e, String task) {
    if (e instanceof XenApiException known) {
      return known;
    }
    if (e instanceof InterruptedException) {
      Thread.currentThread().interrupt();
      return new XenApiException("TASK_CANCELLED", task).withCause(e);
    }
    return new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
  }
}
