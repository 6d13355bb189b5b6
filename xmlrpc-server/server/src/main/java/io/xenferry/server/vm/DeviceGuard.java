package io.xenferry.server.vm;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.model.Ref;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * Keeps the devices of a VM as they are while it is being moved or its owner is in doubt: a disk
 * that is copied must not grow, and one of a VM in doubt must not be taken from it, since what
 * belongs to no VM may be destroyed or given to another one.
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
      registry.guard(message, call -> enter(call, (db, vms) -> vms.add(db.get(vbd(call), VBD.VM))));
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
          message, call -> enter(call, (db, vms) -> vms.add(db.get(call.<VIF>ref(0), VIF.VM))));
    }
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
        vms.add(db.get(vbd, VBD.VM));
      }
    }
  }

  /** Finds the VMs that a call concerns. */
  @FunctionalInterface
  private interface Finder {
    void find(Snapshot db, Set<Ref<VM>> vms) throws XenApiException;
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
