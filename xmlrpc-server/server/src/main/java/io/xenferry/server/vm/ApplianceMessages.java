package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMAppliance;
import io.xenferry.model.Value;
import io.xenferry.model.VmApplianceOperation;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.List;

/** Appliances: VMs that belong together, and are started and stopped in an order. */
public final class ApplianceMessages {
  private static final String TEST = "ApplianceTest.";

  private final Appliances appliances;

  public ApplianceMessages(Appliances appliances) {
    this.appliances = appliances;
  }

  public void register(Registry r) {
    r.implement("VM_appliance.start", this::start, TEST + "itsVmsStartAndStopTogether");
    r.implement(
        "VM_appliance.clean_shutdown",
        c -> stop(c, VmApplianceOperation.CLEAN_SHUTDOWN),
        TEST + "itsVmsStartAndStopTogether");
    r.implement(
        "VM_appliance.hard_shutdown",
        c -> stop(c, VmApplianceOperation.HARD_SHUTDOWN),
        TEST + "itsVmsStartAndStopTogether");
    r.implement(
        "VM_appliance.shutdown",
        c -> stop(c, VmApplianceOperation.SHUTDOWN),
        TEST + "itsVmsStartAndStopTogether");
    r.implement("VM_appliance.destroy", this::destroy, TEST + "itsVmsOutliveIt");
    r.implement("VM.set_appliance", this::setAppliance, TEST + "whatMayBeDoneFollowsItsVms");
    r.cancellable(
        "VM_appliance.start",
        "VM_appliance.clean_shutdown",
        "VM_appliance.hard_shutdown",
        "VM_appliance.shutdown");
  }

  private Value start(Call c) throws XenApiException, InterruptedException {
    appliances.start(c.ref(0), c.bool(1), c.task().orElseThrow());
    return Value.VOID;
  }

  private Value stop(Call c, VmApplianceOperation how)
      throws XenApiException, InterruptedException {
    appliances.stop(c.ref(0), how, c.task().orElseThrow());
    return Value.VOID;
  }

  private Value destroy(Call c) throws XenApiException {
    Ref<VMAppliance> appliance = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          Appliances.requireIdle(tx, appliance);
          for (Ref<VM> vm : List.copyOf(tx.get(appliance, VMAppliance.VMS))) {
            tx.set(vm, VM.APPLIANCE, Ref.nullRef());
          }
          tx.delete("VM_appliance", appliance.opaque());
        });
    return Value.VOID;
  }

  private Value setAppliance(Call c) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    Ref<VMAppliance> appliance = c.ref(1);
    c.server()
        .db()
        .change(tx -> {
          if (tx.get(vm, VM.IS_CONTROL_DOMAIN)) {
            throw new XenApiException(
                "OPERATION_NOT_ALLOWED", "a control domain belongs to no appliance");
          }
          if (!appliance.isNull()) {
            Schema.row(tx, "VM_appliance", appliance.opaque());
            if (tx.get(vm, VM.IS_A_SNAPSHOT)) {
              throw new XenApiException("VM_IS_SNAPSHOT", vm.opaque(), "set_appliance");
            }
            if (tx.get(vm, VM.IS_A_TEMPLATE)) {
              throw new XenApiException("VM_IS_TEMPLATE", vm.opaque(), "set_appliance");
            }
          }
          tx.set(vm, VM.APPLIANCE, appliance.isNull() ? Ref.nullRef() : appliance);
        });
    return Value.VOID;
  }
}
