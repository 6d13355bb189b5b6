package io.xenferry.server.vm;

import io.xenferry.model.PBD;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.Value;
import io.xenferry.model.VbdOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;

/** The messages that plug devices into running guests and take them away. */
public final class DeviceMessages {
  private static final String TEST = "PlugTest.";

  private final VmDevices devices;

  public DeviceMessages(VmDevices devices) {
    this.devices = devices;
  }

  public void register(Registry r) {
    r.implement("VBD.plug", this::plug, TEST + "aDiskIsPluggedAndUnplugged");
    r.implement(
        "VBD.unplug",
        c -> unplug(c, VbdOperations.UNPLUG),
        TEST + "aDiskThatTheGuestDoesNotLetGoStays");
    r.implement(
        "VBD.unplug_force",
        c -> unplug(c, VbdOperations.UNPLUG_FORCE),
        TEST + "aDiskIsPluggedAndUnplugged");
    r.implement("VBD.insert", this::insert, TEST + "aCdIsInsertedAndEjected");
    r.implement("VBD.eject", this::eject, TEST + "aCdIsInsertedAndEjected");
    r.implement(
        "VBD.assert_attachable", this::assertAttachable, TEST + "aDiskIsPluggedAndUnplugged");
    r.implement("VIF.plug", this::plugNic, TEST + "aNetworkCardIsPluggedAndUnplugged");
    r.implement("VIF.unplug", this::unplugNic, TEST + "aNetworkCardIsPluggedAndUnplugged");
    r.implement("VIF.unplug_force", this::unplugNic, TEST + "aNetworkCardIsPluggedAndUnplugged");
  }

  private Value plug(Call c) throws XenApiException {
    devices.plug(c.ref(0), task(c));
    return Value.VOID;
  }

  /** Whether a guest could have what is in it now; the guest itself is not asked. */
  private Value assertAttachable(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<VBD> vbd = c.ref(0);
    if (db.get(vbd, VBD.EMPTY)) {
      return Value.VOID;
    }
    Ref<SR> sr = db.get(db.get(vbd, VBD.VDI), VDI.SR);
    boolean there = false;
    for (Ref<PBD> pbd : db.get(sr, SR.PBDS)) {
      there |= db.get(pbd, PBD.CURRENTLY_ATTACHED);
    }
    if (!there) {
      throw new XenApiException("SR_NOT_ATTACHED", sr.opaque());
    }
    DiskSharing.check(db, vbd);
    return Value.VOID;
  }

  private Value insert(Call c) throws XenApiException {
    devices.insert(c.ref(0), c.ref(1), task(c));
    return Value.VOID;
  }

  private Value eject(Call c) throws XenApiException {
    devices.eject(c.ref(0), task(c));
    return Value.VOID;
  }

  private Value unplug(Call c, VbdOperations how) throws XenApiException {
    devices.unplug(c.ref(0), how, task(c));
    return Value.VOID;
  }

  private Value plugNic(Call c) throws XenApiException {
    devices.plugNic(c.ref(0), task(c));
    return Value.VOID;
  }

  private Value unplugNic(Call c) throws XenApiException {
    devices.unplugNic(c.ref(0), task(c));
    return Value.VOID;
  }

  private static String task(Call c) {
    return c.task().map(io.xenferry.server.task.Task::ref).orElseGet(() -> Ref.random().opaque());
  }
}
