package io.xenferry.server.vm;

import io.xenferry.model.Field;
import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.util.List;
import java.util.Map;

/** Messages about processors and memory of running VMs. */
public final class TuningMessages {
  private static final String TEST = "TuningTest.";

  private final VmTuning tuning;

  public TuningMessages(VmTuning tuning) {
    this.tuning = tuning;
  }

  /** After the messages for halted VMs, of which some are also for running ones. */
  public void register(Registry r) {
    r.implement("VM.set_VCPUs_number_live", this::vcpus, TEST + "processorsComeAndGo");
    r.implement("VM.add_to_VCPUs_params_live", this::vcpuParam, TEST + "processorsShareTheHost");
    for (String how : List.of("set_", "add_to_", "remove_from_")) {
      r.implement(
          "VM." + how + "VCPUs_params",
          c -> store(c, VM.VCPUS_PARAMS),
          TEST + "whatProcessorsShareIsChecked");
      r.implement(
          "host." + how + "guest_VCPUs_params",
          c -> store(c, Host.GUEST_VCPUS_PARAMS),
          TEST + "whatProcessorsShareIsChecked");
    }
    r.implement("VM.set_memory_target_live", this::target, TEST + "memoryIsTakenAndGiven");
    r.implement("VM.wait_memory_target_live", this::await, TEST + "memoryIsTakenAndGiven");
    r.instead("VM.set_memory_dynamic_range", this::range);
  }

  private Value vcpus(Call c) throws XenApiException {
    tuning.setVcpus(c.ref(0), c.integer(1), task(c));
    return Value.VOID;
  }

  private Value vcpuParam(Call c) throws XenApiException {
    tuning.setVcpuParam(c.ref(0), c.text(1), c.text(2), task(c));
    return Value.VOID;
  }

  /** For the next starts, as with published servers; those that run keep what they have. */
  private static <T> Value store(Call c, Field<T, Map<String, String>> field)
      throws XenApiException {
    Ref<T> object = c.ref(0);
    Map<String, String> before = c.server().db().snapshot().get(object, field);
    Accessors.change(
        c, tx -> VcpuParams.require(field.def().name(), before, tx.get(object, field)));
    return Value.VOID;
  }

  private Value target(Call c) throws XenApiException {
    tuning.setDynamicRange(c.ref(0), c.integer(1), c.integer(1), task(c));
    return Value.VOID;
  }

  private Value await(Call c) throws XenApiException {
    tuning.awaitTarget(c.ref(0), task(c));
    return Value.VOID;
  }

  /**
   * @return whether the guest was asked
   */
  private boolean range(Call c) throws XenApiException {
    if (!tuning.isLive(c.ref(0))) {
      return false;
    }
    tuning.setDynamicRange(c.ref(0), c.integer(1), c.integer(2), task(c));
    return true;
  }

  private static String task(Call c) {
    return c.task().map(io.xenferry.server.task.Task::ref).orElseGet(() -> Ref.random().opaque());
  }
}
