package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.VbdOperations;
import io.xenferry.model.VifOperations;
import io.xenferry.model.VmOperations;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One operation at a time on each VBD and VIF, shown in {@code current_operations}. */
final class DeviceOperations {
  private static final Logger log = LoggerFactory.getLogger(DeviceOperations.class);

  private final ObjectDatabase database;
  private final VmAdmission.AllowedOperations allowed;

  DeviceOperations(ObjectDatabase database, VmAdmission.AllowedOperations allowed) {
    this.database = database;
    this.allowed = allowed;
  }

  /**
   * Begins an operation.
   *
   * @param states of the VM in which it may be done
   * @throws XenApiException VM_BAD_POWER_STATE, OTHER_OPERATION_IN_PROGRESS
   */
  VmAdmission.InProgress begin(
      Ref<VBD> vbd, VbdOperations operation, String task, Set<VmPowerState> states)
      throws XenApiException {
    database.change(tx -> {
      Ref<VM> vm = tx.get(vbd, VBD.VM);
      checkVm(tx, vm, states, task);
      Map<String, VbdOperations> current = tx.get(vbd, VBD.CURRENT_OPERATIONS);
      for (Map.Entry<String, VbdOperations> other : current.entrySet()) {
        throw busy("VBD", vbd, other.getValue().wire(), other.getKey());
      }
      tx.set(vbd, VBD.CURRENT_OPERATIONS, Map.of(task, operation));
      allowed.refresh(tx, vm.opaque());
    });
    return () -> endVbd(vbd, task);
  }

  private void endVbd(Ref<VBD> vbd, String task) {
    record(
        database,
        vbd,
        tx -> {
          if (tx.row("VBD", vbd.opaque()).isPresent()) {
            Map<String, VbdOperations> current =
                new LinkedHashMap<>(tx.get(vbd, VBD.CURRENT_OPERATIONS));
            current.remove(task);
            tx.set(vbd, VBD.CURRENT_OPERATIONS, current);
            allowed.refresh(tx, tx.get(vbd, VBD.VM).opaque());
          }
        });
  }

  /**
   * The end of an operation; on a full disk it is recorded later. Until then nothing else may be
   * done with the object, which is why it is not simply forgotten.
   */
  static void record(ObjectDatabase database, Ref<?> object, ObjectDatabase.Change end) {
    CompletableFuture<Void> unused =
        database
            .insist(end)
            .whenComplete((made, failure) -> {
              if (failure != null) {
                log.warn("the end of an operation on {} is not recorded", object, failure);
              }
            });
  }

  /** The same for a VIF. */
  VmAdmission.InProgress begin(
      Ref<VIF> vif, VifOperations operation, String task, Set<VmPowerState> states)
      throws XenApiException {
    database.change(tx -> {
      Ref<VM> vm = tx.get(vif, VIF.VM);
      checkVm(tx, vm, states, task);
      Map<String, VifOperations> current = tx.get(vif, VIF.CURRENT_OPERATIONS);
      for (Map.Entry<String, VifOperations> other : current.entrySet()) {
        throw busy("VIF", vif, other.getValue().wire(), other.getKey());
      }
      tx.set(vif, VIF.CURRENT_OPERATIONS, Map.of(task, operation));
      allowed.refresh(tx, vm.opaque());
    });
    return () -> endVif(vif, task);
  }

  private void endVif(Ref<VIF> vif, String task) {
    record(
        database,
        vif,
        tx -> {
          if (tx.row("VIF", vif.opaque()).isPresent()) {
            Map<String, VifOperations> current =
                new LinkedHashMap<>(tx.get(vif, VIF.CURRENT_OPERATIONS));
            current.remove(task);
            tx.set(vif, VIF.CURRENT_OPERATIONS, current);
            allowed.refresh(tx, tx.get(vif, VIF.VM).opaque());
          }
        });
  }

  void refresh(Ref<VM> vm) throws XenApiException {
    database.change(tx -> allowed.refresh(tx, vm.opaque()));
  }

  /** What is part of another operation on the VM has that one's task. */
  private static void checkVm(Snapshot db, Ref<VM> vm, Set<VmPowerState> states, String task)
      throws XenApiException {
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    if (!states.contains(state)) {
      throw new XenApiException(
          "VM_BAD_POWER_STATE",
          vm.opaque(),
          states.stream()
              .map(s -> s.wire().toLowerCase(Locale.ROOT))
              .collect(Collectors.joining(", ")),
          state.wire().toLowerCase(Locale.ROOT));
    }
    for (Map.Entry<String, VmOperations> other : db.get(vm, VM.CURRENT_OPERATIONS).entrySet()) {
      if (!other.getKey().equals(task)) {
        throw busy("VM", vm, other.getValue().wire(), other.getKey());
      }
    }
  }

  private static XenApiException busy(String type, Ref<?> object, String operation, String task) {
    return new XenApiException(
        "OTHER_OPERATION_IN_PROGRESS", type, object.opaque(), operation, task);
  }

  /** At start-up: no operation of a server before this one is in progress any more. */
  void forgetAll() throws XenApiException {
    database.change(tx -> {
      for (var row : java.util.List.copyOf(tx.rows("VBD"))) {
        Ref<VBD> vbd = new Ref<>(row.ref());
        if (!tx.get(vbd, VBD.CURRENT_OPERATIONS).isEmpty()) {
          tx.set(vbd, VBD.CURRENT_OPERATIONS, Map.of());
        }
      }
      for (var row : java.util.List.copyOf(tx.rows("VIF"))) {
        Ref<VIF> vif = new Ref<>(row.ref());
        if (!tx.get(vif, VIF.CURRENT_OPERATIONS).isEmpty()) {
          tx.set(vif, VIF.CURRENT_OPERATIONS, Map.of());
        }
      }
    });
  }
}
