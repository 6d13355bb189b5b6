package io.xenferry.server.messages;

import io.xenferry.model.Host;
import io.xenferry.model.PBD;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.vm.HostMemory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Where VMs can run. There is one host: nothing can go elsewhere in the pool. */
final class PlacementMessages {
  private static final String TEST = "PlacementTest.";

  private PlacementMessages() {}

  static void register(Registry r) {
    r.implement(
        "VM.assert_can_boot_here",
        PlacementMessages::assertCanBoot,
        TEST + "whatStandsAgainstAStartIsSaid");
    r.implement(
        "VM.get_possible_hosts",
        PlacementMessages::possibleHosts,
        TEST + "whatStandsAgainstAStartIsSaid");
    r.implement(
        "host.assert_can_evacuate",
        PlacementMessages::assertCanEvacuate,
        TEST + "vmsThatRunCannotLeave");
    r.implement(
        "host.get_vms_which_prevent_evacuation",
        PlacementMessages::preventing,
        TEST + "vmsThatRunCannotLeave");
    r.implement("host.evacuate", PlacementMessages::evacuate, TEST + "vmsThatRunCannotLeave");
    r.implement("SR.get_live_hosts", PlacementMessages::liveHosts, TEST + "anSrTellsItsHosts");
  }

  private static Value assertCanBoot(Call c) throws XenApiException {
    check(c.server().db().snapshot(), c.ref(0), c.ref(1));
    return Value.VOID;
  }

  private static Value possibleHosts(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<VM> vm = c.ref(0);
    db.get(vm, VM.UUID);
    List<String> possible = new ArrayList<>();
    for (Row row : db.rows("host")) {
      try {
        check(db, vm, new Ref<>(row.ref()));
        possible.add(row.ref());
      } catch (XenApiException e) {
        // Not there, then.
      }
    }
    return Value.ofTexts(possible);
  }

  private static void check(Snapshot db, Ref<VM> vm, Ref<Host> host) throws XenApiException {
    VmPowerState state = db.get(vm, VM.POWER_STATE);
    if (!db.get(host, Host.ENABLED)) {
      throw new XenApiException("HOST_DISABLED", host.opaque());
    }
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (!db.get(vbd, VBD.EMPTY)) {
        Ref<SR> sr = db.get(db.get(vbd, VBD.VDI), VDI.SR);
        if (!attachedTo(db, sr).contains(host.opaque())) {
          throw new XenApiException("VM_REQUIRES_SR", vm.opaque(), sr.opaque());
        }
      }
    }
    // One that runs has its memory.
    if (state == VmPowerState.HALTED || state == VmPowerState.SUSPENDED) {
      long needed = db.get(vm, VM.MEMORY_STATIC_MAX);
      long free = HostMemory.free(db, host);
      if (needed > free) {
        throw new XenApiException(
            "HOST_NOT_ENOUGH_FREE_MEMORY", Long.toString(needed), Long.toString(free));
      }
    }
  }

  private static List<String> attachedTo(Snapshot db, Ref<SR> sr) throws XenApiException {
    List<String> hosts = new ArrayList<>();
    for (Ref<PBD> pbd : db.get(sr, SR.PBDS)) {
      if (db.get(pbd, PBD.CURRENTLY_ATTACHED)) {
        hosts.add(db.get(pbd, PBD.HOST).opaque());
      }
    }
    return hosts;
  }

  private static Value liveHosts(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    List<String> live = new ArrayList<>();
    for (String host : attachedTo(db, c.ref(0))) {
      if (db.get(Ref.<Host>of(host), Host.ENABLED)) {
        live.add(host);
      }
    }
    return Value.ofTexts(live);
  }

  /** VMs that run here, which no other host could take. */
  private static List<String> staying(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<Host> host = c.ref(0);
    db.get(host, Host.UUID);
    List<String> staying = new ArrayList<>();
    for (Row row : db.rows("VM")) {
      Ref<VM> vm = new Ref<>(row.ref());
      if (db.get(vm, VM.RESIDENT_ON).equals(host) && !db.get(vm, VM.IS_CONTROL_DOMAIN)) {
        staying.add(vm.opaque());
      }
    }
    return staying;
  }

  private static Value preventing(Call c) throws XenApiException {
    Map<String, Value> reasons = new LinkedHashMap<>();
    for (String vm : staying(c)) {
      reasons.put(vm, Value.ofTexts(List.of("NO_HOSTS_AVAILABLE", vm)));
    }
    return Value.Struct.of(reasons);
  }

  private static Value assertCanEvacuate(Call c) throws XenApiException {
    List<String> staying = staying(c);
    if (!staying.isEmpty()) {
      throw new XenApiException(
          "CANNOT_EVACUATE_HOST",
          String.join("|", staying.stream().map(vm -> "NO_HOSTS_AVAILABLE," + vm).toList()));
    }
    return Value.VOID;
  }

  /** Nothing to do, or nothing that can be done. */
  private static Value evacuate(Call c) throws XenApiException {
    List<String> staying = staying(c);
    if (!staying.isEmpty()) {
      throw new XenApiException("NO_HOSTS_AVAILABLE", staying.getFirst());
    }
    return Value.VOID;
  }
}
