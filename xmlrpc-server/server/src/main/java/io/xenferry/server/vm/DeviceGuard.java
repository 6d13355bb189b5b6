package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * Keeps the devices and the records of a VM as they are while it is being moved or its owner is in
 * doubt: a disk that is copied must not grow, and one of a VM in doubt must not be taken from it,
 * since what belongs to no VM may be destroyed or given to another one. A change of its records
 * would be lost: what the destination makes of it was told when the move began.
 */
public final class DeviceGuard {
  private final Gate gate;

  public DeviceGuard(Gate gate) {
    this.gate = gate;
  }

  /** Guards messages that are registered already. */
  public void register(Registry registry) {
    for (String message :
        List.of(
            "VBD.destroy",
            "VBD.eject",
            "VBD.insert",
            "VBD.plug",
            "VBD.set_mode",
            "VBD.set_type",
            "VBD.set_userdevice",
            "VBD.unplug",
            "VBD.unplug_force")) {
      registry.guard(
          message,
          call -> enter(call, (db, vms) -> vms.add(itself(db, db.get(vbd(call), VBD.VM)))));
    }
    registry.guard(
        "VBD.create",
        call ->
            enter(
                call,
                (db, vms) -> {
                  this.<VM>named(call, "VM").ifPresent(vms::add);
                  Optional<Ref<VDI>> vdi = named(call, "VDI");
                  if (vdi.isPresent()) {
                    addUsers(db, vdi.get(), vms);
                  }
                }));
    for (String message :
        List.of("VDI.resize", "VDI.resize_online", "VDI.snapshot", "VDI.forget")) {
      registry.guard(message, call -> enter(call, (db, vms) -> addUsers(db, call.ref(0), vms)));
    }
    registry.guard(
        "VIF.create",
        call -> enter(call, (db, vms) -> this.<VM>named(call, "VM").ifPresent(vms::add)));
    for (String message : List.of("VIF.destroy", "VIF.plug", "VIF.unplug", "VIF.unplug_force")) {
      registry.guard(
          message,
          call -> enter(call, (db, vms) -> vms.add(itself(db, db.get(call.<VIF>ref(0), VIF.VM)))));
    }
    guardRecords(registry);
  }

  private void guardRecords(Registry registry) {
    registry.guardRecords(
        "VM", call -> enter(call, (db, vms) -> vms.add(itself(db, call.<VM>ref(0)))));
    registry.guardRecords(
        "VBD", call -> enter(call, (db, vms) -> vms.add(itself(db, db.get(vbd(call), VBD.VM)))));
    registry.guardRecords(
        "VIF",
        call -> enter(call, (db, vms) -> vms.add(itself(db, db.get(call.<VIF>ref(0), VIF.VM)))));
    registry.guardRecords("VDI", call -> enter(call, (db, vms) -> addUsers(db, call.ref(0), vms)));
  }

  /** Snapshots move with their VM. */
  private static Ref<VM> itself(Snapshot db, Ref<VM> vm) throws XenApiException {
    if (db.row("VM", vm.opaque()).isEmpty() || !db.get(vm, VM.IS_A_SNAPSHOT)) {
      return vm;
    }
    Ref<VM> of = db.get(vm, VM.SNAPSHOT_OF);
    return db.row("VM", of.opaque()).isPresent() ? of : vm;
  }

  private static Ref<VBD> vbd(Call call) {
    return call.ref(0);
  }

  /** A reference in the record that a constructor is given. */
  private <T> Optional<Ref<T>> named(Call call, String field) {
    return call.members(0).get(field) instanceof Value.Text(String ref)
        ? Optional.of(Ref.of(ref))
        : Optional.empty();
  }

  private static void addUsers(Snapshot db, Ref<VDI> vdi, Set<Ref<VM>> vms) throws XenApiException {
    if (db.row("VDI", vdi.opaque()).isPresent()) {
      for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
        vms.add(itself(db, db.get(vbd, VBD.VM)));
      }
    }
  }

  /** Finds the VMs that a call concerns. */
  @FunctionalInterface
  private interface Finder {
    void find(Snapshot db, Set<Ref<VM>> vms) throws XenApiException;
  }

  /** A move begins with checks at both sides, before the gate knows of it. */
  private static void requireNoneBegun(Snapshot db, Ref<VM> vm) throws XenApiException {
    for (Map.Entry<String, VmOperations> begun : db.get(vm, VM.CURRENT_OPERATIONS).entrySet()) {
      if (begun.getValue() == VmOperations.MIGRATE_SEND) {
        throw new XenApiException(
            "OTHER_OPERATION_IN_PROGRESS",
            "VM",
            vm.opaque(),
            begun.getValue().wire(),
            begun.getKey());
      }
    }
  }

  private Registry.Guard.Closeable enter(Call call, Finder finder) throws XenApiException {
    Snapshot db = call.server().db().snapshot();
    Set<Ref<VM>> vms = new LinkedHashSet<>();
    finder.find(db, vms);
    List<Gate.Permit> permits = new ArrayList<>();
    try {
      for (Ref<VM> vm : vms) {
        // One that does not exist is the message's to complain about.
        if (db.row("VM", vm.opaque()).isPresent()) {
          requireNoneBegun(db, vm);
          permits.add(gate.enter(UUID.fromString(db.get(vm, VM.UUID)), Operation.CHANGE_DEVICE));
        }
      }
      return () -> permits.forEach(Gate.Permit::close);
    } catch (XenApiException | RuntimeException e) {
      permits.forEach(Gate.Permit::close);
      throw e;
    }
  }
}
