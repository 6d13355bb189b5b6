package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What may be done with a VM now: {@code allowed_operations} and {@code current_operations}, and
 * the checks before an operation, first failure wins.
 */
public final class VmAdmission {
  /** Legal while a VM is being migrated: a guest may stop or reboot meanwhile. */
  private static final Set<VmOperations> DURING_MIGRATION =
      EnumSet.of(
          VmOperations.METADATA_EXPORT,
          VmOperations.CLEAN_SHUTDOWN,
          VmOperations.CLEAN_REBOOT,
          VmOperations.HARD_SHUTDOWN,
          VmOperations.HARD_REBOOT);

  /** They only read the VM and its disks, so that several may go on at once. */
  private static final Set<VmOperations> COPIES = EnumSet.of(VmOperations.CLONE, VmOperations.COPY);

  /** They wait for the guest's good will, for a long time. */
  private static final Set<VmOperations> CLEAN =
      EnumSet.of(VmOperations.CLEAN_SHUTDOWN, VmOperations.CLEAN_REBOOT);

  /** Legal meanwhile; they end the waiting. */
  private static final Set<VmOperations> OVERRULING =
      EnumSet.of(VmOperations.HARD_SHUTDOWN, VmOperations.HARD_REBOOT);

  private static final Map<VmOperations, Set<VmPowerState>> STATES =
      Map.ofEntries(
          Map.entry(VmOperations.START, EnumSet.of(VmPowerState.HALTED)),
          Map.entry(VmOperations.START_ON, EnumSet.of(VmPowerState.HALTED)),
          Map.entry(VmOperations.PAUSE, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(VmOperations.UNPAUSE, EnumSet.of(VmPowerState.PAUSED)),
          Map.entry(VmOperations.CLEAN_SHUTDOWN, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(VmOperations.CLEAN_REBOOT, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(
              VmOperations.HARD_SHUTDOWN,
              EnumSet.of(VmPowerState.RUNNING, VmPowerState.PAUSED, VmPowerState.SUSPENDED)),
          Map.entry(VmOperations.SUSPEND, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(VmOperations.CHECKPOINT, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(VmOperations.RESUME, EnumSet.of(VmPowerState.SUSPENDED)),
          Map.entry(VmOperations.RESUME_ON, EnumSet.of(VmPowerState.SUSPENDED)),
          Map.entry(
              VmOperations.HARD_REBOOT, EnumSet.of(VmPowerState.RUNNING, VmPowerState.PAUSED)),
          Map.entry(
              VmOperations.MIGRATE_SEND,
              EnumSet.of(VmPowerState.HALTED, VmPowerState.SUSPENDED, VmPowerState.RUNNING)),
          Map.entry(VmOperations.POOL_MIGRATE, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(VmOperations.CHANGING_VCPUS_LIVE, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(VmOperations.AWAITING_MEMORY_LIVE, EnumSet.of(VmPowerState.RUNNING)),
          Map.entry(
              VmOperations.CHANGING_DYNAMIC_RANGE,
              EnumSet.of(VmPowerState.RUNNING, VmPowerState.PAUSED)),
          Map.entry(VmOperations.CREATE_VTPM, EnumSet.of(VmPowerState.HALTED)),
          Map.entry(VmOperations.CHANGING_NVRAM, EnumSet.of(VmPowerState.HALTED)),
          Map.entry(VmOperations.DESTROY, EnumSet.of(VmPowerState.HALTED)),
          Map.entry(VmOperations.CLONE, EnumSet.of(VmPowerState.HALTED)),
          Map.entry(VmOperations.COPY, EnumSet.of(VmPowerState.HALTED)));

  /** During which nobody else changes the images of the VM's disks. */
  private static final Set<VmOperations> WITH_STILL_DISKS =
      EnumSet.of(
          VmOperations.MIGRATE_SEND,
          VmOperations.POOL_MIGRATE,
          VmOperations.SUSPEND,
          VmOperations.SNAPSHOT,
          VmOperations.CHECKPOINT,
          VmOperations.REVERTING);

  /** For which a VM must not hang on to what only its host has. */
  private static final Set<VmOperations> LEAVING =
      EnumSet.of(VmOperations.MIGRATE_SEND, VmOperations.POOL_MIGRATE);

  private static final Set<VmOperations> OF_TEMPLATES =
      EnumSet.of(
          VmOperations.CLONE, VmOperations.COPY, VmOperations.DESTROY, VmOperations.CHANGING_NVRAM);

  private final ObjectDatabase database;
  private final AllowedOperations allowed;
  private final Set<String> goingOn = ConcurrentHashMap.newKeySet();
  private volatile StillDisks still = vm -> () -> {};

  public VmAdmission(ObjectDatabase database, AllowedOperations allowed) {
    this.database = database;
    this.allowed = allowed;
  }

  /** Asks somebody to leave disks alone while they must not change. */
  public void keepStill(StillDisks disks) {
    still = disks;
  }

  /** Works out what clients are shown as allowed. */
  @FunctionalInterface
  public interface AllowedOperations {
    void refresh(Transaction tx, String vm) throws XenApiException;
  }

  /** An operation in progress; closing it ends the operation. */
  public interface InProgress extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * Begins an operation: checks that it may be done and notes it in {@code current_operations}.
   *
   * @param task reference of the task that it belongs to
   * @throws XenApiException OPERATION_BLOCKED, VM_BAD_POWER_STATE, OTHER_OPERATION_IN_PROGRESS,
   *     VM_IS_TEMPLATE, VM_IS_SNAPSHOT, VM_IS_IMMOBILE, VM_HAS_PCI_ATTACHED, VM_HAS_VGPU,
   *     VM_HAS_VUSBS or OPERATION_NOT_ALLOWED
   */
  public InProgress begin(Ref<VM> vm, VmOperations operation, String task) throws XenApiException {
    database.change(tx -> {
      check(tx, vm, operation);
      note(tx, vm, operation, task);
    });
    return begun(vm, operation, task);
  }

  /** What is under way with its disks sees the operation, or is seen here. */
  private InProgress begun(Ref<VM> vm, VmOperations operation, String task) throws XenApiException {
    if (!WITH_STILL_DISKS.contains(operation)) {
      return () -> {
        end(vm, task);
        still.free(vm);
      };
    }
    boolean begun = false;
    try {
      InProgress kept = still.keep(vm);
      begun = true;
      return () -> {
        end(vm, task);
        kept.close();
      };
    } finally {
      if (!begun) {
        end(vm, task);
      }
    }
  }

  /**
   * Lets nothing else begin that is legal during a migration.
   *
   * @param as what the operation is shown as from now on
   * @param task of the operation
   * @return false while something else is in progress: then nothing has changed
   */
  public boolean alone(Ref<VM> vm, VmOperations as, String task) throws XenApiException {
    return database.write(tx -> {
      Map<String, VmOperations> current = tx.get(vm, VM.CURRENT_OPERATIONS);
      if (!current.keySet().equals(Set.of(task))) {
        return false;
      }
      tx.set(vm, VM.CURRENT_OPERATIONS, Map.of(task, as));
      return true;
    });
  }

  /** Shows an operation that a server before this one began and this one goes on with. */
  public InProgress goesOn(Ref<VM> vm, VmOperations operation, String task) throws XenApiException {
    goingOn.add(task);
    database.change(tx -> note(tx, vm, operation, task));
    return begun(vm, operation, task);
  }

  private void note(Transaction tx, Ref<VM> vm, VmOperations operation, String task)
      throws XenApiException {
    Map<String, VmOperations> current = new LinkedHashMap<>(tx.get(vm, VM.CURRENT_OPERATIONS));
    current.put(task, operation);
    tx.set(vm, VM.CURRENT_OPERATIONS, current);
    refresh(tx, vm);
  }

  private void end(Ref<VM> vm, String task) {
    goingOn.remove(task);
    DeviceOperations.record(
        database,
        vm,
        tx -> {
          if (tx.row("VM", vm.opaque()).isPresent()) {
            Map<String, VmOperations> current =
                new LinkedHashMap<>(tx.get(vm, VM.CURRENT_OPERATIONS));
            current.remove(task);
            tx.set(vm, VM.CURRENT_OPERATIONS, current);
            refresh(tx, vm);
          }
        });
  }

  /** Hears of what stands against an operation. */
  @FunctionalInterface
  public interface Objections {
    /**
     * @throws XenApiException to hear no more
     */
    void raise(XenApiException objection) throws XenApiException;
  }

  /** Checks without beginning; first failure wins. */
  public void check(Snapshot db, Ref<VM> vm, VmOperations operation) throws XenApiException {
    check(
        db,
        vm,
        operation,
        first -> {
          throw first;
        });
  }

  /**
   * Tells everything that stands against an operation, in the order of the checks.
   *
   * @throws XenApiException HANDLE_INVALID for a VM that is gone; what {@code all} throws
   */
  public void check(Snapshot db, Ref<VM> vm, VmOperations operation, Objections all)
      throws XenApiException {
    String blocked = db.get(vm, VM.BLOCKED_OPERATIONS).get(operation);
    if (blocked != null) {
      all.raise(new XenApiException("OPERATION_BLOCKED", vm.opaque(), blocked));
    }
    String migration = db.get(vm, VM.OTHER_CONFIG).get(VmRecords.MIGRATION_KEY);
    if (migration != null) {
      all.raise(
          new XenApiException(
              "OPERATION_NOT_ALLOWED",
              "the VM belongs to migration " + migration + ", not to this host"));
    }
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    Set<VmPowerState> wanted = STATES.getOrDefault(operation, EnumSet.allOf(VmPowerState.class));
    // A snapshot with memory is Suspended, and nothing but a snapshot.
    if (!wanted.contains(state) && !VmCheckpoint.isOne(db, vm)) {
      all.raise(
          new XenApiException(
              "VM_BAD_POWER_STATE",
              vm.opaque(),
              String.join(
                  ", ", wanted.stream().map(s -> s.wire().toLowerCase(Locale.ROOT)).toList()),
              state.wire().toLowerCase(Locale.ROOT)));
    }
    for (Map.Entry<String, VmOperations> other : db.get(vm, VM.CURRENT_OPERATIONS).entrySet()) {
      if (!mayBegin(operation, other.getValue())) {
        all.raise(
            new XenApiException(
                "OTHER_OPERATION_IN_PROGRESS",
                "VM",
                vm.opaque(),
                other.getValue().wire(),
                other.getKey()));
      }
    }
    if (db.get(vm, VM.IS_A_SNAPSHOT)
        && !OF_TEMPLATES.contains(operation)
        && operation != VmOperations.REVERT
        // Gives the memory of a checkpoint up, as clients do before they destroy it.
        && operation != VmOperations.HARD_SHUTDOWN) {
      all.raise(new XenApiException("VM_IS_SNAPSHOT", vm.opaque(), operation.wire()));
    }
    if (db.get(vm, VM.IS_A_TEMPLATE)
        && !db.get(vm, VM.IS_A_SNAPSHOT)
        && !OF_TEMPLATES.contains(operation)
        && !(operation == VmOperations.MIGRATE_SEND && !db.get(vm, VM.IS_DEFAULT_TEMPLATE))
        && operation != VmOperations.PROVISION) {
      all.raise(new XenApiException("VM_IS_TEMPLATE", vm.opaque(), operation.wire()));
    }
    if (LEAVING.contains(operation) && state == VmPowerState.RUNNING) {
      checkFreeOfItsHost(db, vm, all);
    }
    if (db.get(vm, VM.IS_CONTROL_DOMAIN)) {
      all.raise(
          new XenApiException(
              "OPERATION_NOT_ALLOWED", operation.wire() + " is not for a control domain"));
    }
  }

  private static void checkFreeOfItsHost(Snapshot db, Ref<VM> vm, Objections all)
      throws XenApiException {
    Map<String, String> platform = db.get(vm, VM.PLATFORM);
    if ("true".equals(platform.get("nomigrate")) || "true".equals(platform.get("nested-virt"))) {
      all.raise(new XenApiException("VM_IS_IMMOBILE", vm.opaque()));
    }
    if (!db.get(vm, VM.ATTACHED_PCIS).isEmpty()) {
      all.raise(new XenApiException("VM_HAS_PCI_ATTACHED", vm.opaque()));
    }
    if (!db.get(vm, VM.VGPUS).isEmpty()) {
      all.raise(new XenApiException("VM_HAS_VGPU", vm.opaque()));
    }
    if (!db.get(vm, VM.VUSBS).isEmpty()) {
      all.raise(new XenApiException("VM_HAS_VUSBS", vm.opaque()));
    }
  }

  private static boolean mayBegin(VmOperations operation, VmOperations during) {
    if (COPIES.contains(during)) {
      return COPIES.contains(operation);
    }
    return CLEAN.contains(during)
        ? OVERRULING.contains(operation)
        : during == VmOperations.MIGRATE_SEND && DURING_MIGRATION.contains(operation);
  }

  /** Whether somebody waits for the guest to shut down. */
  static boolean isWaitedFor(Snapshot db, Ref<VM> vm) throws XenApiException {
    return db.get(vm, VM.CURRENT_OPERATIONS).values().stream().anyMatch(CLEAN::contains);
  }

  /** Recomputes {@code allowed_operations} from the record. */
  public void refresh(Transaction tx, Ref<VM> vm) throws XenApiException {
    allowed.refresh(tx, vm.opaque());
  }

  /**
   * At start-up: no operation of a server before this one is in progress any more, but for those
   * that {@link #goesOn go on}.
   */
  public void forgetAll() throws XenApiException {
    database.change(tx -> {
      for (var row : List.copyOf(tx.rows("VM"))) {
        Ref<VM> vm = new Ref<>(row.ref());
        Map<String, VmOperations> current = new LinkedHashMap<>(tx.get(vm, VM.CURRENT_OPERATIONS));
        if (current.keySet().retainAll(goingOn)) {
          tx.set(vm, VM.CURRENT_OPERATIONS, current);
        }
        refresh(tx, vm);
      }
    });
  }
}
